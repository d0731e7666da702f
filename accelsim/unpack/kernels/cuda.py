"""Count and write digits on a CUDA device: compiled kernels that round on the way.

One pass over the operand, queued as soon as its scale is on the device, writes the lowest digits of
all rows and how many digits each needs. The rows that need more are listed and read again there, so
that nothing waits for the host. It waits once, for how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.granularity import row_scales
from accelsim.arithmetic.rounding import Quantized
from accelsim.kernels.nvcc import compiles_for
from accelsim.kernels.write_digits import DigitWriter
from accelsim.unpack.kernels.generic import GenericKernels

WIDEST = 8
"""Bits of a digit in an int8."""


@dataclass(frozen=True)
class Written:
    """Digits that are written, or queued to be.

    Parameters
    ----------
    scale : Tensor
        By which the operand is rounded.
    writer : DigitWriter
        Of all rows; with room for as many further digits as there are rows, if the operand is one
        matrix. Those of several would have to lie between them.
    """

    scale: Tensor
    writer: DigitWriter


def writes(operand: Tensor, system: DigitSystem) -> bool:
    """Whether the kernels write digits of a system, for a float operand of integers in int32."""
    return (
        operand.numel() > 0
        and system.bits <= WIDEST
        and not system.keeps_last
        and compiles_for(operand.device)
    )


def begin_writing(operand: Tensor, scale: Tensor, system: DigitSystem) -> Written:
    """Queue what writes the digits of an operand.

    Parameters
    ----------
    operand : Tensor
        float32 ``[..., rows, d]``, contiguous.
    scale : Tensor
        float32 on the device: a scalar, or ``[..., rows, 1]``.
    system : DigitSystem
        Digits that `writes` says are the kernels'.
    """
    rows, d = operand.shape[:-1].numel(), operand.shape[-1]
    by_row = row_scales(scale, operand.shape).reshape(rows) if scale.ndim else scale
    room = rows if operand.shape[:-2].numel() == 1 else 0
    writer = DigitWriter(operand.view(rows, d), by_row, system.shift, system.low_digits[0], room)
    writer.run()
    return Written(scale, writer)


@dataclass(frozen=True)
class _Rows:
    """What the kernels found in the rows of an operand.

    Parameters
    ----------
    levels : Tensor
        Digits that each row needs, int64 ``[batch, n]`` on the CPU.
    out_of_bound : tuple of int
        Entries of each matrix that do not fit one digit.
    complete : bool
        Whether the operand is one matrix all digits of which are written; else there are none here.
    lines : list of Tensor
        Its rows that need more than 1, 2, … digits.
    digits : Tensor
        Its digits, ``[n and further lines, d]``.
    """

    levels: Tensor
    out_of_bound: tuple[int, ...]
    complete: bool
    lines: list[Tensor]
    digits: Tensor


class CudaKernels(GenericKernels):
    """Implements `Kernels` for floats with their scale on a CUDA device.

    Torch operations do what it has no kernel for.

    Parameters
    ----------
    operand : Quantized
        With entries, all of which become int32.
    system : DigitSystem
        Digits that `writes` says are the kernels'.
    ahead : Written or None
        Digits that were queued before the host knew the scale; of no use if it became another.
    """

    def __init__(
        self, operand: Quantized, system: DigitSystem, ahead: Written | None = None
    ) -> None:
        super().__init__(operand, system)
        self._quantized = operand
        self._ahead = ahead if ahead is not None and ahead.scale is operand.scale else None

    def begin(self) -> None:
        """Queue the digits unless that was done."""
        if self._ahead is None:
            quantized = self._quantized
            self._ahead = begin_writing(quantized.operand, quantized.scale, self._system)

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need."""
        return self._rows.levels

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""
        return self._rows.out_of_bound

    def lines(self, head: int, row_levels: Tensor) -> list[Tensor]:
        """Return the rows that have more than 1, 2, … levels."""
        if self._are_written(row_levels):
            return self._rows.lines
        return super().lines(head, row_levels)

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits."""
        if columns is not None:
            return super().digits(head, row_levels, columns, skip, last)
        if self._are_written(row_levels):
            return self._rows.digits
        writer, (_, n, d) = self._written.writer, self.shape
        written = writer.digits[head * n : (head + 1) * n]
        if int(row_levels.max()) > 1:
            places = _places(super().lines(head, row_levels), head * n)
            written = torch.cat([written, writer.further(places)])
        return written[:, :d].contiguous()

    def _are_written(self, row_levels: Tensor) -> bool:
        """Whether all digits of the only matrix are written, for rows of this many levels."""
        rows = self._rows
        return rows.complete and (
            rows.levels.data_ptr() == row_levels.data_ptr()
            or torch.equal(rows.levels[0], row_levels)
        )

    @cached_property
    def _rows(self) -> _Rows:
        """Wait for what the kernels found, and take what they wrote."""
        batch, n, d = self.shape
        writer = self._written.writer
        found = writer.found()
        levels = torch.from_numpy(found.levels.astype(np.int64)).view(batch, n)
        if found.further is None or found.total_outside is None:
            outside = found.outside.reshape(batch, n).sum(axis=1, dtype=np.int64)
            return _Rows(levels, tuple(outside.tolist()), False, [], writer.digits[:0])
        count = sum(found.further)
        complete = count <= n
        lines = writer.places[0, :count].split_with_sizes(found.further) if complete else ()
        digits = writer.digits[: n + count if complete else 0, :d].contiguous()
        return _Rows(levels, (found.total_outside,), complete, list(lines), digits)

    @property
    def _written(self) -> Written:
        self.begin()
        assert self._ahead is not None, "begin makes it"
        return self._ahead


def _places(lines: Sequence[Tensor], first: int) -> Tensor:
    """Return rows, counted from `first`, and levels from 1 on, int64 ``[2, count]``."""
    levels = [torch.full_like(rows, level) for level, rows in enumerate(lines, 1)]
    return torch.stack([torch.cat(list(lines)) + first, torch.cat(levels)])
