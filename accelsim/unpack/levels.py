"""Covers: how many levels each row and each column of an operand is unpacked into.

An entry that needs L digits is in bound when its row has rho levels and its column gamma levels
with ``rho + gamma >= L + 1``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.unpack.operand import IntegerOperand

METHODS = ("row", "column", "both")


@dataclass(frozen=True)
class Levels:
    """A cover of one operand.

    Parameters
    ----------
    rows, columns : Tensor
        int64 ``[n]`` and ``[d]`` on the CPU, at least 1: levels of each row and each column.
    """

    rows: Tensor
    columns: Tensor

    @cached_property
    def columns_once(self) -> bool:
        """Whether every column has one level."""
        columns = self.columns
        return columns is once(len(columns)) or not (columns > 1).any()


@lru_cache(maxsize=16)
def once(width: int) -> Tensor:
    """Return one level for each column."""
    return torch.ones(width, dtype=torch.int64, device="cpu")


def cover(operand: IntegerOperand, head: int, method: str, columns: Tensor | None = None) -> Levels:
    """Cover one matrix of an operand by rows, by columns, or greedily by both.

    Parameters
    ----------
    operand : IntegerOperand
        The operand.
    head : int
        The matrix of the batch.
    method : {"row", "column", "both"}
        The paper's UnpackRow, UnpackColumn or UnpackBoth.
    columns : Tensor or None
        int64 on the CPU: its columns as they are repeated, every one at least once; None for each
        once.
    """
    survey, width = operand.survey, operand.shape[2] if columns is None else len(columns)
    rows = survey.rows[head]
    if method == "row" or not survey.out_of_bound[head]:
        return Levels(rows, once(width))
    if method == "column":
        own = survey.columns[head]
        needed = own if columns is None else own[columns]
        return Levels(torch.ones_like(rows), needed)
    index = np.arange(width) if columns is None else columns.numpy()
    found = _unpack_both(*_counts(operand, head), index)
    return Levels(*(torch.from_numpy(levels).to(torch.int64) for levels in found))


def _counts(
    operand: IntegerOperand, head: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the digits that each entry of a matrix needs, and the same transposed."""
    key = "counts", head
    if key not in operand.notes:
        counts = operand.counts[head].cpu()
        operand.notes[key] = counts.numpy(), counts.T.contiguous().numpy()
    found: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] = operand.notes[key]
    return found


@numba.njit(cache=True, nogil=True)
def _unpack_both(counts: Any, transposed: Any, index: Any) -> Any:
    """Unpack the line with the most out-of-bound entries until there is none (UnpackBoth).

    Only an entry in the last level of its row and of its column can be out of bound, so counts per
    line are enough. Ties go to rows, as in the paper's published code. Which of several rows comes
    first changes nothing: unpacking one takes no entry off another, and columns only get fewer, so
    that all of them come before the next column; and likewise for columns. The heaps are lazy: a
    stored count is an upper bound. Column j is column ``index[j]`` of the counts. Lines are
    compared as a whole, in the order of memory, which costs less than a list of the entries out of
    bound, however few there are.
    """
    n, d = len(counts), len(index)
    rows, columns = np.ones(n, np.uint8), np.ones(d, np.uint8)
    in_row, in_column = np.zeros(n, np.int64), np.zeros(d, np.int64)
    line = np.empty(d, np.uint8)
    for j in range(d):
        outside = transposed[index[j]] > 1
        in_row += outside
        in_column[j] = outside.sum()
    row_heap = [(-in_row[i], i) for i in range(n)]
    column_heap = [(-in_column[j], j) for j in range(d)]
    heapq.heapify(row_heap)
    heapq.heapify(column_heap)
    while True:
        while -row_heap[0][0] != in_row[row_heap[0][1]]:
            i = row_heap[0][1]
            heapq.heapreplace(row_heap, (-in_row[i], i))
        while -column_heap[0][0] != in_column[column_heap[0][1]]:
            j = column_heap[0][1]
            heapq.heapreplace(column_heap, (-in_column[j], j))
        most_row, most_column = -row_heap[0][0], -column_heap[0][0]
        if most_row == 0 and most_column == 0:
            return rows, columns
        if most_row >= most_column:
            i = row_heap[0][1]
            for j in range(d):
                line[j] = counts[i, index[j]]
            in_row[i] -= _brought_in(line, rows[i], columns, in_column)
            rows[i] += 1
            heapq.heapreplace(row_heap, (-in_row[i], i))
        else:
            j = column_heap[0][1]
            in_column[j] -= _brought_in(transposed[index[j]], columns[j], rows, in_row)
            columns[j] += 1
            heapq.heapreplace(column_heap, (-in_column[j], j))


@numba.njit(cache=True, nogil=True)
def _brought_in(counts: Any, level: Any, levels: Any, outside: Any) -> Any:
    """Take the entries that one more level of a line brings into bound off the lines across it."""
    found = 0
    for k in range(len(counts)):
        inside = counts[k] == np.uint8(level + levels[k])
        outside[k] -= inside
        found += inside
    return found
