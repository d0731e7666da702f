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
from scipy import sparse
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
    counts = operand.counts[head].cpu().numpy()
    found = _greedy(counts if columns is None else counts[:, columns.numpy()])
    return Levels(*(torch.from_numpy(levels) for levels in found))


def _greedy(counts: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Unpack the line with the most out-of-bound entries until there is none (UnpackBoth).

    Only an entry in the last level of its row and of its column can be out of bound, so counts
    per line are enough, and only the entries out of bound matter.
    """
    by_row = sparse.csr_array(counts > 1)
    by_column = by_row.tocsc()
    rows, columns = _unpack_both(
        counts, by_row.indptr, by_row.indices, by_column.indptr, by_column.indices
    )
    return rows, columns


@numba.njit(cache=True)
def _unpack_both(
    counts: Any, row_starts: Any, row_columns: Any, column_starts: Any, column_rows: Any
) -> Any:
    """Run UnpackBoth; the entries out of bound are given row by row and column by column.

    Ties go to rows, then to the line that was appended first, as in the paper's published code.
    The heaps are lazy: a stored count is an upper bound.
    """
    n, d = counts.shape
    rows = np.ones(n, np.int64)
    columns = np.ones(d, np.int64)
    in_row = np.diff(row_starts).astype(np.int64)
    in_column = np.diff(column_starts).astype(np.int64)
    row_heap = [(-in_row[i], i, i) for i in range(n)]
    column_heap = [(-in_column[j], j, j) for j in range(d)]
    heapq.heapify(row_heap)
    heapq.heapify(column_heap)
    next_row, next_column = n, d
    while True:
        while -row_heap[0][0] != in_row[row_heap[0][2]]:
            _, position, i = row_heap[0]
            heapq.heapreplace(row_heap, (-in_row[i], position, i))
        while -column_heap[0][0] != in_column[column_heap[0][2]]:
            _, position, j = column_heap[0]
            heapq.heapreplace(column_heap, (-in_column[j], position, j))
        most_row, most_column = -row_heap[0][0], -column_heap[0][0]
        if most_row == 0 and most_column == 0:
            return rows, columns
        if most_row >= most_column:
            i = row_heap[0][2]
            for j in row_columns[row_starts[i] : row_starts[i + 1]]:
                if counts[i, j] == rows[i] + columns[j]:
                    in_row[i] -= 1
                    in_column[j] -= 1
            rows[i] += 1
            heapq.heapreplace(row_heap, (-in_row[i], next_row, i))
            next_row += 1
        else:
            j = column_heap[0][2]
            for i in column_rows[column_starts[j] : column_starts[j + 1]]:
                if counts[i, j] == rows[i] + columns[j]:
                    in_row[i] -= 1
                    in_column[j] -= 1
            columns[j] += 1
            heapq.heapreplace(column_heap, (-in_column[j], next_column, j))
            next_column += 1
