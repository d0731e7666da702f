"""Floating-point products to compare with: what a user would run instead.

A baseline is no backend: it takes the original operands, not digits, and its result is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.errors import InputError, unknown_name
from gemm_backends.types import Availability


@dataclass(frozen=True)
class Baseline:
    """A matrix multiplication in one floating-point type.

    Parameters
    ----------
    name : str
        The name by which it is found.
    dtype : torch.dtype
        The type of the operands and of the result.
    tf32 : bool
        Whether float32 operands are rounded to TF32 in the multiplier (CUDA only).
    """

    name: str
    dtype: torch.dtype
    tf32: bool = False

    def availability(self, device: str = "cpu") -> Availability:
        """Say whether this can be timed on a torch device."""
        kind = torch.device(device).type
        if kind == "cuda" and not torch.cuda.is_available():
            return Availability(False, "there is no CUDA device", device=device)
        if self.tf32 and kind != "cuda":
            return Availability(False, "TF32 needs an NVIDIA GPU", device=device)
        if self.tf32 and torch.cuda.get_device_capability(device) < (8, 0):
            return Availability(False, "TF32 needs compute capability 8.0", device=device)
        return Availability(True, device=device)

    def prepare(self, operand: Tensor) -> Tensor:
        """Convert an operand to this baseline's type; timed apart from the product."""
        return operand.to(self.dtype)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply two operands.

        Parameters
        ----------
        a, b : Tensor
            ``[..., n, d]`` and ``[..., h, d]``, floating point.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[..., n, h]``, of type `dtype`.
        """
        a, b = self.prepare(a), self.prepare(b)
        if self.dtype is not torch.float32:
            return a @ b.mT
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        try:
            return a @ b.mT
        finally:
            torch.set_float32_matmul_precision(precision)


_BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline("fp64", torch.float64),
        Baseline("fp32", torch.float32),
        Baseline("tf32", torch.float32, tf32=True),
        Baseline("bf16", torch.bfloat16),
        Baseline("fp16", torch.float16),
    )
}


def list_baselines() -> list[str]:
    """Return the names of all baselines, from the most to the least precise."""
    return list(_BASELINES)


def load_baseline(name: str) -> Baseline:
    """Return the baseline called `name`.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in _BASELINES:
        raise InputError(unknown_name("baseline", name, _BASELINES))
    return _BASELINES[name]
