"""Covers: how many levels each row and each column of an operand is unpacked into.

An entry that needs L digits is in bound when its row has rho levels and its column gamma levels
with ``rho + gamma >= L + 1``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

METHODS = ("row", "column", "both")


@dataclass(frozen=True)
class Levels:
    """A cover of one operand.

    Parameters
    ----------
    rows, columns : Tensor
        int64 ``[n]`` and ``[d]``, at least 1: levels of each row and each column.
    """

    rows: Tensor
    columns: Tensor


def cover(counts: Tensor, method: str) -> Levels:
    """Cover an operand by rows, by columns, or greedily by both.

    Parameters
    ----------
    counts : Tensor
        int64 ``[n, d]``, the digits that each entry needs.
    method : {"row", "column", "both"}
        The paper's UnpackRow, UnpackColumn or UnpackBoth.
    """
    n, d = counts.shape
    rows = torch.ones(n, dtype=torch.int64, device=counts.device)
    columns = torch.ones(d, dtype=torch.int64, device=counts.device)
    if counts.numel() == 0:
        return Levels(rows, columns)
    if method == "row":
        return Levels(counts.amax(dim=1), columns)
    if method == "column":
        return Levels(rows, counts.amax(dim=0))
    found_rows, found_columns = _greedy(counts.cpu().numpy().astype(np.int16))
    return Levels(
        torch.from_numpy(found_rows).to(counts.device),
        torch.from_numpy(found_columns).to(counts.device),
    )


@numba.njit(cache=True)
def _greedy(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unpack the line with the most out-of-bound entries until there is none (UnpackBoth).

    Only an entry in the last level of its row and of its column can be out of bound, so counts
    per line are enough. Ties go to rows, then to the line that was appended first, as in the
    paper's published code. The heaps are lazy: a stored count is an upper bound.
    """
    n, d = counts.shape
    rows = np.ones(n, np.int64)
    columns = np.ones(d, np.int64)
    in_row = np.zeros(n, np.int64)
    in_column = np.zeros(d, np.int64)
    for i in range(n):
        for j in range(d):
            if counts[i, j] > 1:
                in_row[i] += 1
                in_column[j] += 1
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
            for j in range(d):
                if counts[i, j] == rows[i] + columns[j]:
                    in_row[i] -= 1
                    in_column[j] -= 1
            rows[i] += 1
            heapq.heapreplace(row_heap, (-in_row[i], next_row, i))
            next_row += 1
        else:
            j = column_heap[0][2]
            for i in range(n):
                if counts[i, j] == rows[i] + columns[j]:
                    in_row[i] -= 1
                    in_column[j] -= 1
            columns[j] += 1
            heapq.heapreplace(column_heap, (-in_column[j], next_column, j))
            next_column += 1
