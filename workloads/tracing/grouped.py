"""Products in groups, as a mixture of experts has them: one GEMM for each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.tracing.multiplication import GemmOperands, Multiplication, rule


class _Group(NamedTuple):
    """The operands of one group, and the place of its product in the result."""

    a: Tensor
    b: Tensor
    place: Any


@rule("_grouped_mm")
def _grouped_mm(
    self: Tensor,
    mat2: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Multiplication | str:
    """Take one GEMM for each group that is not empty; `offs` has the ends of the groups."""
    if bias is not None:
        return "multiplies in groups with a bias"
    if self.is_meta or mat2.is_meta or (offs is not None and offs.is_meta):
        return "its groups are values, which the device meta does not have"
    ends = [] if offs is None else offs.tolist()
    parts = [
        _group(self, mat2, number, slice(start, end))
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
        if end > start
    ]
    if offs is None:
        parts = [_Group(a, b, number) for number, (a, b) in enumerate(zip(self, mat2, strict=True))]

    def finish(results: Sequence[Tensor]) -> Tensor:
        out = _result(self, mat2, len(ends), out_dtype or self.dtype)
        for part, result in zip(parts, results, strict=True):
            out[part.place] = result
        return out

    return Multiplication([GemmOperands(part.a, part.b.mT) for part in parts], finish)


def _group(a: Tensor, b: Tensor, number: int, part: slice) -> _Group:
    if a.ndim == 2 and b.ndim == 3:  # rows of A are cut
        return _Group(a[part], b[number], part)
    if a.ndim == 3:  # columns of B
        return _Group(a[number], b[:, part], (slice(None), part))
    return _Group(a[:, part], b[part], number)  # the depth


def _result(a: Tensor, b: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """Return zeros with the strides of the operator's result: rows begin at 16 bytes."""
    rows, columns = a.shape[-2], b.shape[-1]
    entries = 16 // dtype.itemsize
    pitch = -(-columns // entries) * entries
    if a.ndim != b.ndim:
        shape, strides = (rows, columns), (pitch, 1)
    else:
        batch = groups if a.ndim == 2 else a.shape[0]
        shape, strides = (batch, rows, columns), (rows * pitch, pitch, 1)  # type: ignore[assignment]
    return torch.empty_strided(shape, strides, dtype=dtype, device=a.device).zero_()
