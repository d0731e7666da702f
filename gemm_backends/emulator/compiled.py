"""The steps of every sum in machine code, on the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor

from gemm_backends.datapath import Datapath
from gemm_backends.emulator import stepwise
from gemm_backends.types import OverflowReport

Integers = npt.NDArray[np.integer[Any]]

TILE = 512
"""Columns that are processed together, so that they stay in the first-level cache."""


def accumulate(
    a: Tensor, b: Tensor, table: Tensor | None, largest_product: int, datapath: Datapath
) -> tuple[Tensor, OverflowReport]:
    """Sum the products of every pair of rows, one step at a time.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]`` on the CPU: digits of at most 16 bits, or, with a table, positions
        in it.
    table : Tensor or None
        The products, or None where the multiplier is exact.
    largest_product : int
        A bound on the magnitude of every product.
    datapath : Datapath
        How they are summed.

    Returns
    -------
    product : Tensor
        ``[n, h]`` int64.
    report : OverflowReport
        As `stepwise.accumulate` gives it.
    """
    n, h = len(a), len(b)
    if h < n:  # the inner loop runs over columns, of which there should be many
        turned = None if table is None else table.T
        product, counts = _accumulate(b, a, turned, largest_product, datapath)
        product, counts = product.T, counts.T
    else:
        product, counts = _accumulate(a, b, table, largest_product, datapath)
    result = torch.from_numpy(product.astype(np.int64))
    total = int(counts.sum(dtype=np.int64))
    if total == 0:
        return result, OverflowReport(0)
    row, column = (int(i) for i in np.argwhere(counts)[0])
    if table is None:
        products = a[row].to(torch.int64) * b[column].to(torch.int64)
    else:
        products = table[a[row].long(), b[column].long()]
    k = stepwise.first_overflow(products.tolist(), datapath)
    return result, OverflowReport(total, (row, column, k))


def _accumulate(
    a: Tensor, b: Tensor, table: Tensor | None, largest_product: int, datapath: Datapath
) -> tuple[Integers, Integers]:
    """Return the sums and the numbers of overflows, both ``[n, h]``."""
    inner, outer = datapath.inner, datapath.outer
    narrow = inner.maximum + datapath.tree * largest_product < 1 << 31
    dtype = np.int32 if narrow else np.int64
    rows = a.contiguous().numpy()
    columns = np.ascontiguousarray(b.numpy().T)
    products = None if table is None else np.ascontiguousarray(table.numpy())
    (n, d), h = rows.shape, columns.shape[1]
    state, counts = np.zeros((n, h), dtype), np.zeros((n, h), np.int32)
    total = state if outer is None else np.zeros((n, h), np.int64)
    saturate = inner.overflow == "saturate"
    settings = datapath.tree, dtype(inner.minimum), dtype(inner.maximum), saturate

    def work(part: slice) -> None:
        for block in datapath.blocks(d):
            operands = rows[part, block], columns[block]
            if products is None:
                _multiply(*operands, *settings, state[part], counts[part])
            else:
                _look_up(*operands, products, *settings, state[part], counts[part])
            if outer is not None:
                limits = np.int64(outer.minimum), np.int64(outer.maximum)
                saturate = outer.overflow == "saturate"
                _add_block(state[part], *limits, saturate, total[part], counts[part])

    threads = torch.get_num_threads()
    edges = np.linspace(0, n, min(n, 4 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, slice(*edge)) for edge in pairwise(edges)]:
            done.result()
    return total, counts


@njit(cache=True, nogil=True)
def _multiply(a, b, tree, low, high, saturate, state, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    integer = state.dtype.type
    d, h = b.shape
    for left in range(0, h, TILE):
        panel = b[:, left : left + TILE]
        width = panel.shape[1]
        addend = np.empty(width, state.dtype)
        for i in range(a.shape[0]):
            sums, overflows = state[i, left : left + TILE], counts[i, left : left + TILE]
            for start in range(0, d, tree):
                factor = integer(a[i, start])
                for j in range(width):
                    addend[j] = integer(factor * integer(panel[start, j]))
                for k in range(start + 1, min(start + tree, d)):
                    factor = integer(a[i, k])
                    for j in range(width):
                        addend[j] = integer(addend[j] + integer(factor * integer(panel[k, j])))
                _step(addend, low, high, saturate, sums, overflows)


@njit(cache=True, nogil=True)
def _look_up(a, b, table, tree, low, high, saturate, state, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    integer = state.dtype.type
    d, h = b.shape
    for left in range(0, h, TILE):
        panel = b[:, left : left + TILE]
        width = panel.shape[1]
        addend = np.empty(width, state.dtype)
        for i in range(a.shape[0]):
            sums, overflows = state[i, left : left + TILE], counts[i, left : left + TILE]
            for start in range(0, d, tree):
                row = a[i, start]
                for j in range(width):
                    addend[j] = integer(table[row, panel[start, j]])
                for k in range(start + 1, min(start + tree, d)):
                    row = a[i, k]
                    for j in range(width):
                        addend[j] = integer(addend[j] + integer(table[row, panel[k, j]]))
                _step(addend, low, high, saturate, sums, overflows)


@njit(cache=True, nogil=True)
def _step(addend, low, high, saturate, sums, overflows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add to the registers of part of a row; see `stepwise.step`.

    No sum leaves the type of `sums`: int32 is chosen where that holds, and fewer than 2**32
    products of magnitudes up to 2**30 fit int64 in any order.
    """
    integer = sums.dtype.type
    mask = integer(high - low)
    if saturate:
        for j in range(sums.shape[0]):
            total = integer(sums[j] + addend[j])
            clipped = min(max(total, low), high)
            overflows[j] += np.int32(total != clipped)
            sums[j] = clipped
    else:
        for j in range(sums.shape[0]):
            total = integer(sums[j] + addend[j])
            overflows[j] += np.int32((total < low) | (total > high))
            sums[j] = integer(integer(integer(total - low) & mask) + low)


@njit(cache=True, nogil=True)
def _add_block(state, low, high, saturate, total, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the sums of a block to the outer registers, and set them to zero."""
    for i in range(state.shape[0]):
        _step(state[i].astype(np.int64), low, high, saturate, total[i], counts[i])
        state[i] = 0
