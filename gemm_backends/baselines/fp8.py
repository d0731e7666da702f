"""The fp8 Tensor Cores of NVIDIA GPUs: e4m3 operands, bfloat16 result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from gemm_backends.baselines.base import Baseline, needs_gpu
from gemm_backends.types import Availability

LARGEST = 448.0
"""The largest e4m3 number."""


@dataclass(frozen=True)
class Scaled:
    """An fp8 operand.

    Parameters
    ----------
    values : Tensor
        ``[..., rows + padding, d + padding]`` float8_e4m3fn.
    scale : Tensor
        float32 that the values are multiplied by: a scalar, or ``[..., rows + padding, 1]``.
    rows : int
        Rows without the padding.
    """

    values: Tensor
    scale: Tensor
    rows: int


class Fp8(Baseline):
    """e4m3 operands with one scale per tensor."""

    name = "fp8"
    by_rows: ClassVar[bool] = False

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        return needs_gpu("fp8", (8, 9), device)

    def prepare(self, operand: Tensor) -> Scaled:
        """Scale an operand to the type's range and pad rows and K to multiples of 16."""
        rows, d = operand.shape[-2:]
        values = pad(operand.to(torch.float32), (0, -d % 16, 0, -rows % 16))
        magnitudes = values.abs()
        largest = magnitudes.amax(dim=-1, keepdim=True) if self.by_rows else magnitudes.amax()
        largest = largest.clamp(min=torch.finfo(torch.float32).tiny)
        scaled = values * (LARGEST / largest)
        return Scaled(scaled.to(torch.float8_e4m3fn), largest / LARGEST, rows)

    def matmul(self, a: Tensor | Scaled, b: Tensor | Scaled) -> Tensor:
        """Multiply two operands; see `Baseline.matmul`."""
        x = a if isinstance(a, Scaled) else self.prepare(a)
        y = b if isinstance(b, Scaled) else self.prepare(b)
        if x.values.ndim == 2:
            return self._product(x, y)
        heads = range(x.values.shape[0])
        return torch.stack([self._product(self._head(x, i), self._head(y, i)) for i in heads])

    def _head(self, x: Scaled, index: int) -> Scaled:
        scale = x.scale[index] if self.by_rows else x.scale
        return Scaled(x.values[index], scale, x.rows)

    def _product(self, a: Scaled, b: Scaled) -> Tensor:
        scale_b = b.scale.mT if self.by_rows else b.scale
        product = torch._scaled_mm(
            a.values, b.values.mT, a.scale, scale_b, out_dtype=torch.bfloat16
        )
        return product[: a.rows, : b.rows]


class Fp8Row(Fp8):
    """e4m3 operands with one scale per row of each."""

    name = "fp8-row"
    by_rows = True

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        return needs_gpu("fp8 with a scale per row", (9, 0), device)
