"""Exact products of sparse digits: for backends without a kernel of their own."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits

CHUNK = 1 << 24
"""Multiplications whose results a device holds together while it adds them up."""


def sparse_product(a: SparseDigits, b: Tensor | SparseDigits, dtype: torch.dtype) -> Tensor:
    """Return ``A @ B.T`` of sparse and dense digits, or of sparse and sparse ones.

    It takes one multiplication for each stored entry of A and row of B; where both are sparse,
    for each two stored entries in one column.

    Parameters
    ----------
    a : SparseDigits
        ``[n, d]``.
    b : Tensor or SparseDigits
        ``[h, d]``, on the same device.
    dtype : torch.dtype
        int32 or int64: what is summed in. Sums that do not fit wrap.

    Returns
    -------
    Tensor
        ``[n, h]`` of `dtype`.
    """
    result = torch.zeros((a.shape[0], b.shape[0]), dtype=dtype, device=a.values.device)
    if isinstance(b, SparseDigits):
        other = b.transposed()
        if result.is_cuda:
            _add_pairs(a, other, result)
        else:
            _add_pairs_on_cpu(*_arrays(a), *_arrays(other), result.numpy())
    elif result.is_cuda:
        _add_rows(a, b, result)
    else:
        _add_rows_on_cpu(*_arrays(a), b.T.contiguous().numpy(), result.numpy())
    return result


def _arrays(digits: SparseDigits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return digits.starts.numpy(), digits.columns.numpy(), digits.values.numpy()


@numba.njit(cache=True, parallel=True)
def _add_rows_on_cpu(
    starts: np.ndarray, columns: np.ndarray, values: np.ndarray, b: np.ndarray, result: np.ndarray
) -> None:
    """Add to each row of the result the rows of ``b [d, h]`` that its entries name."""
    for i in numba.prange(result.shape[0]):
        total = result[i]
        for entry in range(starts[i], starts[i + 1]):
            value = np.int32(values[entry])
            other = b[columns[entry]]
            for j in range(total.shape[0]):
                total[j] += value * np.int32(other[j])


@numba.njit(cache=True, parallel=True)
def _add_pairs_on_cpu(
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    b_starts: np.ndarray,
    b_rows: np.ndarray,
    b_values: np.ndarray,
    result: np.ndarray,
) -> None:
    for i in numba.prange(result.shape[0]):
        total = result[i]
        for entry in range(starts[i], starts[i + 1]):
            value, column = np.int32(values[entry]), columns[entry]
            for other in range(b_starts[column], b_starts[column + 1]):
                total[b_rows[other]] += value * np.int32(b_values[other])


def _add_rows(a: SparseDigits, b: Tensor, result: Tensor) -> None:
    other, rows, values = b.T.to(result.dtype), a.row_of_entry, a.values.to(result.dtype)
    step = max(1, CHUNK // max(1, b.shape[0]))
    for start in range(0, a.entries, step):
        part = slice(start, start + step)
        products = values[part].unsqueeze(1) * other[a.columns[part]]
        result.index_add_(0, rows[part], products)


def _add_pairs(a: SparseDigits, b: SparseDigits, result: Tensor) -> None:
    """Join the entries of A with those of ``b [d, h]`` in the row that A's column names."""
    lengths = b.starts.diff()[a.columns]
    ends = lengths.cumsum(0)
    pairs = int(ends[-1]) if a.entries else 0
    limits = torch.arange(CHUNK, max(pairs, CHUNK), CHUNK, device=ends.device)
    for first, last in pairwise([0, *torch.searchsorted(ends, limits).tolist(), a.entries]):
        _add_some_pairs(a, b, slice(first, last), lengths[first:last], result)


def _add_some_pairs(
    a: SparseDigits, b: SparseDigits, part: slice, lengths: Tensor, result: Tensor
) -> None:
    first = torch.repeat_interleave(b.starts[a.columns[part]], lengths)
    entry = torch.repeat_interleave(torch.arange(len(lengths), device=first.device), lengths)
    begin = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    other = first + torch.arange(first.numel(), device=first.device) - begin
    products = a.values[part][entry].to(result.dtype) * b.values[other].to(result.dtype)
    places = a.row_of_entry[part][entry] * result.shape[1] + b.columns[other]
    result.view(-1).index_add_(0, places, products)
