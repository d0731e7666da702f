"""Floating-point products to compare with: what a user would run instead.

A baseline is no backend: it takes the original operands, not digits, and its result is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

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

    def prepare(self, operand: Tensor) -> Any:
        """Convert an operand to this baseline's type; timed apart from the product."""
        return operand.to(self.dtype)

    def matmul(self, a: Any, b: Any) -> Tensor:
        """Multiply two operands.

        Parameters
        ----------
        a, b : Tensor
            ``[..., n, d]`` and ``[..., h, d]``, floating point, or what `prepare` made of them.

        Returns
        -------
        Tensor
            ``A @ B.T``, ``[..., n, h]``, of type `dtype`.
        """
        a, b = self.prepare(a), self.prepare(b)
        product: Tensor
        if self.dtype is not torch.float32:
            product = a @ b.mT
            return product
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        try:
            product = a @ b.mT
            return product
        finally:
            torch.set_float32_matmul_precision(precision)


class Fp8(Baseline):
    """The fp8 Tensor Cores: e4m3 operands, one scale per tensor, bfloat16 result."""

    LARGEST = 448.0

    def __init__(self) -> None:
        super().__init__("fp8", torch.bfloat16)

    def availability(self, device: str = "cpu") -> Availability:
        """Say whether this can be timed on a torch device."""
        if torch.device(device).type != "cuda":
            return Availability(False, "fp8 needs an NVIDIA GPU", device=device)
        if not torch.cuda.is_available():
            return Availability(False, "there is no CUDA device", device=device)
        if torch.cuda.get_device_capability(device) < (8, 9):
            return Availability(False, "fp8 needs compute capability 8.9", device=device)
        return Availability(True, device=device)

    def prepare(self, operand: Tensor) -> Scaled:
        """Scale an operand to the type's range and pad rows and K to multiples of 16."""
        values = operand.to(torch.float32)
        largest = values.abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
        rows, d = values.shape[-2:]
        scaled = pad(values * (self.LARGEST / largest), (0, -d % 16, 0, -rows % 16))
        return Scaled(scaled.to(torch.float8_e4m3fn), largest / self.LARGEST, rows)

    def matmul(self, a: Tensor | Scaled, b: Tensor | Scaled) -> Tensor:
        """Multiply two operands; see `Baseline.matmul`."""
        a = a if isinstance(a, Scaled) else self.prepare(a)
        b = b if isinstance(b, Scaled) else self.prepare(b)
        if a.values.ndim == 2:
            return _scaled_product(a, b, a.values, b.values)
        pairs = zip(a.values, b.values, strict=True)
        return torch.stack([_scaled_product(a, b, x, y) for x, y in pairs])


@dataclass(frozen=True)
class Scaled:
    """An fp8 operand.

    Parameters
    ----------
    values : Tensor
        ``[..., rows + padding, d + padding]`` float8_e4m3fn.
    scale : Tensor
        float32 scalar that the values are multiplied by.
    rows : int
        Rows without the padding.
    """

    values: Tensor
    scale: Tensor
    rows: int


def _scaled_product(a: Scaled, b: Scaled, x: Tensor, y: Tensor) -> Tensor:
    product = torch._scaled_mm(x, y.T, a.scale, b.scale, out_dtype=torch.bfloat16)
    return product[: a.rows, : b.rows]


_BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline("fp64", torch.float64),
        Baseline("fp32", torch.float32),
        Baseline("tf32", torch.float32, tf32=True),
        Baseline("bf16", torch.bfloat16),
        Baseline("fp16", torch.float16),
        Fp8(),
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
