"""Part an operand into a dense matrix of low digits and sparse high digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import LineMap, Segment


@dataclass(frozen=True)
class Parted:
    """An operand as ``low + sum over lines of 2**exponent * high``.

    Parameters
    ----------
    low : Tensor
        Digits ``[n, d]``: the entry where it fits, else its lowest digit.
    high : SparseDigits
        ``[lines, d]``: the further digits of the entries that do not fit. A line holds one digit
        level of one row; only lines that hold something exist, level by level and row by row.
    lines : LineMap
        The row and the power of two of every line.
    """

    low: Tensor
    high: SparseDigits
    lines: LineMap

    @property
    def without_high(self) -> Parted:
        """The low digits alone."""
        none = self.high.columns.new_empty(0)
        high = SparseDigits.from_entries(none, none, self.low.new_empty(0), (0, self.low.shape[1]))
        return Parted(self.low, high, ())

    @property
    def row_of_line(self) -> Tensor:
        """The row of each line, int64 ``[lines]``."""
        none = self.high.columns.new_empty(0)
        return torch.cat([none, *(x.index for x in self.lines if x.index is not None)])

    @property
    def whole(self) -> LineMap:
        """The map of all rows of `low`."""
        return (Segment(self.low.shape[0], 0),)


def part(operand: IntegerOperand, head: int) -> Parted:
    """Part one matrix of an operand into low digits and the digits of out-of-bound entries."""
    key = "parted", head
    if key not in operand.notes:
        operand.notes[key] = _part(operand, head)
    parted: Parted = operand.notes[key]
    return parted


def _part(operand: IntegerOperand, head: int) -> Parted:
    system, (_, n, d) = operand.system, operand.shape
    rows, columns, rest = operand.outside(head)
    one_level = torch.ones(n, dtype=torch.int64, device="cpu")
    first, last = (torch.full((d,), x, device="cpu") for x in (0, True))
    low = operand.digits(head, one_level, None, first, last)
    digit, rest = system.split(rest)
    if system.keeps_last:
        low[rows, columns] = digit.to(system.dtype)
    segments: list[Segment] = []
    line_of_entry, entries, digits = [], [], []
    lines = 0
    while rest.numel():
        present, line = torch.unique_consecutive(rows, return_inverse=True)
        segments.append(Segment(present.numel(), (len(segments) + 1) * system.shift, present))
        line_of_entry.append(line + lines)
        entries.append(columns)
        lines += present.numel()
        over = system.out_of_bound(rest)
        digit, above = system.split(rest)
        digits.append(torch.where(over, digit, rest).to(system.dtype))
        rows, columns, rest = rows[over], columns[over], above[over]
    none = rows.new_empty(0)
    return Parted(
        low,
        SparseDigits.from_entries(
            torch.cat([none, *line_of_entry]),
            torch.cat([none, *entries]),
            torch.cat([low.new_empty(0), *digits]),
            (lines, d),
        ),
        tuple(segments),
    )
