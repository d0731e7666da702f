"""The class that every baseline inherits from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from gemm_backends.types import Availability


class Baseline(ABC):
    """A way to multiply float operands that a user would take instead of exact integers.

    A baseline is not a backend: it takes the original operands, not digits, and its result is
    rounded. A package adds one by an entry point of the group ``accelsim.baselines``.

    Attributes
    ----------
    name : str
        The name by which it is found.
    """

    name: ClassVar[str]

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device; by default on every one.

        Parameters
        ----------
        device : str
            ``cpu`` or ``cuda``.

        Returns
        -------
        Availability
            Yes, or no with the reason.
        """
        return Availability(True, device=device)

    @abstractmethod
    def prepare(self, operand: Tensor) -> Any:
        """Convert an operand to this baseline's type; timed apart from the product.

        Parameters
        ----------
        operand : Tensor
            An operand in its own type.

        Returns
        -------
        Any
            Whatever the product takes.
        """

    @abstractmethod
    def matmul(self, a: Any, b: Any) -> Tensor:
        """Multiply two operands.

        Parameters
        ----------
        a, b : Tensor
            ``[..., n, d]`` and ``[..., h, d]``, floating point, or what `prepare` made of them.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[..., n, h]``.
        """

    def bind(self, a: Tensor, b: Tensor) -> Callable[[], Tensor]:
        """Return the product of two operands as a function to time, with B as a weight.

        By default both operands are prepared here, outside of the time.

        Parameters
        ----------
        a, b : Tensor
            Operands ``[..., n, d]`` and ``[..., h, d]``.
        """
        x, y = self.prepare(a), self.prepare(b)
        return lambda: self.matmul(x, y)


def needs_gpu(what: str, capability: tuple[int, int], device: str) -> Availability:
    """Return whether a device is an NVIDIA GPU of at least this compute capability.

    Parameters
    ----------
    what : str
        What needs it, for the reason.
    capability : tuple of int
        Major and minor version.
    device : str
        A torch device.
    """
    import torch

    if torch.device(device).type != "cuda":
        return Availability(False, f"{what} needs an NVIDIA GPU", device=device)
    if not torch.cuda.is_available():
        return Availability(False, "there is no CUDA device", device=device)
    if torch.cuda.get_device_capability(device) < capability:
        version = "{}.{}".format(*capability)
        return Availability(False, f"{what} needs compute capability {version}", device=device)
    return Availability(True, device=device)
