"""Sums of products as an accumulator of a given width forms them, step by step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from gemm_backends.types import Accumulator, OverflowReport

Integers = npt.NDArray[np.integer[Any]]


def wrapped(values: Integers, accumulator: Accumulator) -> Integers:
    """Return int64 `values` modulo the accumulator's range, in place."""
    if accumulator.bits < 64:
        values -= accumulator.minimum
        values &= (1 << accumulator.bits) - 1
        values += accumulator.minimum
    return values


def accumulate(
    a: Integers, b: Integers, accumulator: Accumulator
) -> tuple[npt.NDArray[np.int64], OverflowReport]:
    """Sum the products of every row pair in the order of k, one step at a time.

    An accumulator whose overflow is ``"error"`` goes on like a wrapping one, so that its overflows
    can be counted.

    Parameters
    ----------
    a, b : array
        ``[n, d]`` and ``[h, d]``, integers of at most 16 bits.
    accumulator : Accumulator
        Width and overflow.

    Returns
    -------
    product : array
        ``[n, h]`` int64.
    report : OverflowReport
        The steps at which the sum did not fit.
    """
    n, h = len(a), len(b)
    narrow = (
        accumulator.bits <= 31
    )  # then a sum and a product of 16-bit digits fit 32 bits together
    dtype = np.int32 if narrow else np.int64
    rows = np.ascontiguousarray(a, dtype)
    columns = np.ascontiguousarray(b.T, dtype)
    product = np.zeros((n, h), dtype)
    counts = np.zeros((n, h), np.int64)
    kernel = _saturate if accumulator.overflow == "saturate" else _wrap
    limits = dtype(accumulator.minimum), dtype(accumulator.maximum)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for done in [
            pool.submit(kernel, rows[part], columns, *limits, product[part], counts[part])
            for part in _parts(n, torch.get_num_threads())
        ]:
            done.result()
    return product.astype(np.int64), _report(a, b, counts, accumulator)


def _parts(n: int, count: int) -> list[slice]:
    edges = np.linspace(0, n, min(n, 4 * count) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


@njit(cache=True, nogil=True)
def _saturate(a, b, low, high, product, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in range(a.shape[0]):
        sums, overflows = product[i], counts[i]
        for k in range(a.shape[1]):
            factor = a[i, k]
            row = b[k]
            for j in range(sums.shape[0]):
                total = sums[j] + factor * row[j]
                clipped = min(max(total, low), high)
                overflows[j] += total != clipped
                sums[j] = clipped


@njit(cache=True, nogil=True)
def _wrap(a, b, low, high, product, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    mask = high - low
    for i in range(a.shape[0]):
        sums, overflows = product[i], counts[i]
        for k in range(a.shape[1]):
            factor = a[i, k]
            row = b[k]
            for j in range(sums.shape[0]):
                total = sums[j] + factor * row[j]
                overflows[j] += (total < low) | (total > high)
                sums[j] = ((total - low) & mask) + low


def _report(
    a: Integers, b: Integers, counts: npt.NDArray[np.int64], accumulator: Accumulator
) -> OverflowReport:
    total = int(counts.sum())
    if total == 0:
        return OverflowReport(0)
    row, column = (int(i) for i in np.argwhere(counts)[0])
    sums = np.cumsum(a[row].astype(np.int64) * b[column].astype(np.int64))
    outside = (sums < accumulator.minimum) | (sums > accumulator.maximum)
    return OverflowReport(total, (row, column, int(outside.argmax())))
