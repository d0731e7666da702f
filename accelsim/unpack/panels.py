"""Panels: dense pieces of an operand's high digits, and the products that they take part in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack.problem import LineMap


@dataclass(frozen=True)
class Panel:
    """High digits of some lines of an operand in some of its columns.

    Parameters
    ----------
    columns : Tensor
        int64 ``[w]``, the columns of the operand, all different.
    digits : Tensor
        ``[lines, w]``.
    rows : LineMap
        The row and the power of two of each line.
    """

    columns: Tensor
    digits: Tensor
    rows: LineMap


@dataclass(frozen=True)
class Crossing:
    """The lines of the other operand that hold high digits in the columns of some panels.

    Parameters
    ----------
    lines : sequence of Tensor
        For each panel, int64 ``[lines]`` in order.
    digits : sequence of Tensor
        For each panel, their digits ``[lines, w]``.
    """

    lines: Sequence[Tensor]
    digits: Sequence[Tensor]

    def macs(self, panels: Sequence[Panel]) -> int:
        """Multiplications of the panels with these lines."""
        pairs = zip(panels, self.digits, strict=True)
        return sum(panel.digits.shape[0] * digits.numel() for panel, digits in pairs)


def cross(panels: Sequence[Panel], other: SparseDigits | None) -> Crossing:
    """Find the lines of `other` that hold digits where a panel does, column by column."""
    if not panels or other is None or not other.entries:
        none = [panel.columns.new_empty(0) for panel in panels]
        return Crossing(
            none, [panel.digits.new_empty((0, panel.digits.shape[1])) for panel in panels]
        )
    device = other.values.device
    widths = [panel.columns.numel() for panel in panels]
    columns = torch.cat([panel.columns for panel in panels]).cpu().numpy()
    needed = torch.cat([panel.digits.any(dim=0) for panel in panels]).cpu().numpy()
    transposed = other.transposed()
    starts, lines, values = (
        x.cpu().numpy() for x in (transposed.starts, transposed.columns, transposed.values)
    )
    sizes, found, digits = _gather(
        columns, needed, starts, lines, values, np.array(widths), other.shape[0]
    )
    counts = sizes.tolist()
    areas = [size * width for size, width in zip(counts, widths, strict=True)]
    pieces = torch.split(torch.from_numpy(digits).to(device), areas)
    return Crossing(
        torch.split(torch.from_numpy(found).to(device), counts),
        [piece.reshape(-1, width) for piece, width in zip(pieces, widths, strict=True)],
    )


@numba.njit(cache=True)
def _gather(
    columns: np.ndarray,
    needed: np.ndarray,
    starts: np.ndarray,
    lines: np.ndarray,
    values: np.ndarray,
    widths: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collect, for each panel, the lines that hold digits in its needed columns."""
    sizes, area = np.zeros(widths.size, np.int64), 0
    seen = np.full(count, -1, np.int64)
    first = 0
    for panel in range(widths.size):
        for place in range(first, first + widths[panel]):
            if needed[place]:
                for line in lines[starts[columns[place]] : starts[columns[place] + 1]]:
                    if seen[line] != panel:
                        seen[line] = panel
                        sizes[panel] += 1
        first += widths[panel]
        area += sizes[panel] * widths[panel]
    found, digits = np.empty(sizes.sum(), np.int64), np.zeros(area, values.dtype)
    index = np.full(count, -1, np.int64)
    first, begin, origin = 0, 0, 0
    for panel in range(widths.size):
        own = found[begin : begin + sizes[panel]]
        known = 0
        for place in range(first, first + widths[panel]):
            if needed[place]:
                for line in lines[starts[columns[place]] : starts[columns[place] + 1]]:
                    if index[line] < 0:
                        index[line] = 0
                        own[known] = line
                        known += 1
        own.sort()
        for number in range(own.size):
            index[own[number]] = number
        for place in range(first, first + widths[panel]):
            if needed[place]:
                for entry in range(starts[columns[place]], starts[columns[place] + 1]):
                    line = index[lines[entry]]
                    digits[origin + line * widths[panel] + place - first] = values[entry]
        index[own] = -1
        first += widths[panel]
        begin += sizes[panel]
        origin += sizes[panel] * widths[panel]
    return sizes, found, digits
