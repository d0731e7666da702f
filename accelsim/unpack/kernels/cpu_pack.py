"""Shift and add products into C on the CPU: each part of C is finished while it is in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from accelsim.kernels.threads import over_lines
from accelsim.unpack.problem import LowBitProblem, Segment

CACHED = 1 << 17
"""Entries of C that are worked on at once: a MiB, about what a core's own cache holds."""


@dataclass(frozen=True)
class _Block:
    """A part of a product and where it is added.

    Parameters
    ----------
    result : ndarray
        The whole product, int32 or int64.
    lines : ndarray or None
        int64: its lines that are added, by the row of C that they go to; None for lines in order.
    rows : ndarray or None
        int64: that row of C, ascending; None for all rows.
    first, left : int
        The part's first line and its first column.
    columns : ndarray
        int64: where its columns go; empty for all columns in order.
    width : int
        Number of its columns.
    exponent : int
        Its weight's power of two.
    """

    result: npt.NDArray[Any]
    rows: npt.NDArray[np.int64] | None
    lines: npt.NDArray[np.int64] | None
    first: int
    left: int
    columns: npt.NDArray[np.int64]
    width: int
    exponent: int

    @property
    def fills_c(self) -> bool:
        """Whether it has a value for every entry of C."""
        return self.rows is None and not self.columns.size

    def add(self, total: npt.NDArray[np.int64], start: int, stop: int, fresh: bool) -> None:
        """Add what goes to the rows of C from `start` to `stop`, or write it where C is fresh."""
        if self.rows is None or self.lines is None:
            rows = np.arange(start, stop)
            lines = rows + self.first
        else:
            part = slice(*np.searchsorted(self.rows, (start, stop)))
            rows, lines = self.rows[part], self.lines[part]
        shape = self.left, self.width, self.exponent
        if self.columns.size:
            _add_some_columns(total, self.result, rows, lines, *shape, self.columns)
        else:
            _add_all_columns(total, self.result, rows, lines, *shape, fresh)


def pack_on_cpu(problem: LowBitProblem, results: Sequence[Tensor]) -> Tensor:
    """Implement `accelsim.unpack.pack` for results on the CPU."""
    batch, n, _, h = problem.shape
    total = np.empty((batch, n, h), np.int64)
    blocks: list[list[_Block]] = [[] for _ in range(batch)]
    for product, result in zip(problem.products, results, strict=True):
        array = np.ascontiguousarray(result.numpy())
        first = 0
        for row in product.rows:
            left = 0
            for column in product.columns:
                exponent = product.exponent + row.exponent + column.exponent
                if exponent < 64 and row.count and column.count:
                    blocks[product.head].append(_block(array, row, first, column, left, exponent))
                left += column.count
            first += row.count
    for head in range(batch):
        ordered = sorted(blocks[head], key=lambda block: not block.fills_c)
        over_lines(_fill, n, h, total[head], ordered)
    return torch.from_numpy(total)


def _block(
    result: npt.NDArray[Any], row: Segment, first: int, column: Segment, left: int, exponent: int
) -> _Block:
    rows = lines = None
    if row.index is not None:
        rows = row.index.numpy()
        order = np.argsort(rows, kind="stable")
        rows, lines = rows[order], order + first
    columns = np.empty(0, np.int64) if column.index is None else column.index.numpy()
    return _Block(result, rows, lines, first, left, columns, column.count, exponent)


def _fill(start: int, stop: int, total: npt.NDArray[np.int64], blocks: list[_Block]) -> None:
    """Sum up some rows of C, a few at a time; blocks that fill C come first."""
    step = max(1, CACHED // max(1, total.shape[1]))
    for first in range(start, stop, step):
        last = min(first + step, stop)
        fresh = bool(blocks) and blocks[0].fills_c
        if not fresh:
            total[first:last] = 0
        for block in blocks:
            block.add(total, first, last, fresh)
            fresh = False


@njit(cache=True, nogil=True)
def _add_all_columns(
    total: Any,
    result: Any,
    rows: Any,
    lines: Any,
    left: Any,
    width: Any,
    exponent: Any,
    fresh: Any,
) -> None:
    for r in range(len(rows)):
        target = total[rows[r]]
        line = result[lines[r], left : left + width]
        if fresh:
            for j in range(len(line)):
                target[j] = np.int64(line[j]) << exponent
        else:
            for j in range(len(line)):
                target[j] += np.int64(line[j]) << exponent


@njit(cache=True, nogil=True)
def _add_some_columns(
    total: Any,
    result: Any,
    rows: Any,
    lines: Any,
    left: Any,
    width: Any,
    exponent: Any,
    columns: Any,
) -> None:
    for r in range(len(rows)):
        target = total[rows[r]]
        line = result[lines[r], left : left + width]
        for j in range(len(line)):
            target[columns[j]] += np.int64(line[j]) << exponent
