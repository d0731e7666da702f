"""Assemble the exact product from the low-bit products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.unpack.kernels.cpu_pack import pack_on_cpu
from accelsim.unpack.problem import LineMap, LowBitProblem, Product, Segment

INT64_BITS = 64


def pack(problem: LowBitProblem, results: Sequence[Tensor]) -> Tensor:
    """Shift and add the results of all products into C.

    Parameters
    ----------
    problem : LowBitProblem
        The products.
    results : sequence of Tensor
        ``A_g B_g^T`` of each, integers ``[n_g, h_g]``.

    Returns
    -------
    Tensor
        ``[batch, n, h]``, int64; exact where every entry of C fits int64, because additions
        modulo 2^64 lose nothing then. `pack_wide` is for the rest.
    """
    if not results or results[0].device.type == "cpu":
        return pack_on_cpu(problem, results)
    return pack_by_operations(problem, results)


def pack_by_operations(problem: LowBitProblem, results: Sequence[Tensor]) -> Tensor:
    """Do what `pack` does by operations of PyTorch, on any device."""
    batch, n, _, h = problem.shape
    total = torch.empty((batch, n, h), dtype=torch.int64, device=results[0].device)
    begun: set[int] = set()
    for product, result in zip(problem.products, results, strict=True):
        for row, column, block in _blocks(product, result):
            exponent = product.exponent + row.exponent + column.exponent
            if exponent >= INT64_BITS:  # what is shifted that far is 0 modulo 2^64
                continue
            head = total[product.head]
            if product.head in begun:
                _add(head, row.index, column.index, block, exponent)
            elif row.index is None and column.index is None:
                head.copy_(block)
                if exponent:
                    head.bitwise_left_shift_(exponent)
            else:
                _add(head.zero_(), row.index, column.index, block, exponent)
            begun.add(product.head)
    for number in set(range(batch)) - begun:
        total[number].zero_()
    return total


def pack_wide(problem: LowBitProblem, results: Sequence[Tensor]) -> npt.NDArray[np.object_]:
    """Do what `pack` does in Python's integers, for products that may not fit int64.

    Parameters
    ----------
    problem : LowBitProblem
        The products and where each is added.
    results : Sequence[Tensor]
        Their integers, in the same order.

    Returns
    -------
    ndarray of object
        ``[batch, n, h]``.
    """
    batch, n, _, h = problem.shape
    total = np.full((batch, n, h), 0, dtype=object)
    for product, result in zip(problem.products, results, strict=True):
        for row, column, block in _blocks(product, result):
            weight = 1 << (product.exponent + row.exponent + column.exponent)
            rows = np.arange(n) if row.index is None else row.index.cpu().numpy()
            columns = np.arange(h) if column.index is None else column.index.cpu().numpy()
            np.add.at(
                total[product.head],
                (rows[:, None], columns[None, :]),
                block.cpu().numpy().astype(object) * weight,
            )
    return total


def _blocks(product: Product, result: Tensor) -> Iterator[tuple[Segment, Segment, Tensor]]:
    for row, first in _starts(product.rows):
        for column, left in _starts(product.columns):
            yield (
                row,
                column,
                result[first : first + row.count, left : left + column.count],
            )


def _starts(segments: LineMap) -> Iterator[tuple[Segment, int]]:
    start = 0
    for segment in segments:
        yield segment, start
        start += segment.count


def _add(
    total: Tensor, rows: Tensor | None, columns: Tensor | None, block: Tensor, exponent: int
) -> None:
    """Add ``block * 2^exponent`` to lines of ``total``, modulo 2^64."""
    if rows is not None:
        block = block.to(torch.int64) << exponent
        if columns is not None:
            lines = block.new_zeros((total.shape[0], block.shape[1]))
            total.index_add_(1, columns, lines.index_add_(0, rows, block))
        else:
            total.index_add_(0, rows, block)
    elif columns is not None:
        total.index_add_(1, columns, block.to(torch.int64) << exponent)
    else:
        # One kernel that widens, shifts and adds; 2^63 and -2^63 are the same modulo 2^64.
        total.add_(block, alpha=1 << exponent if exponent < INT64_BITS - 1 else -(1 << exponent))
