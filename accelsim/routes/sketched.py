"""What a large GEMM takes, from a sample of its rows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelsim.errors import UnsupportedError
from accelsim.types import PerOperand
from accelsim.unpack import LowBitProblem
from accelsim.unpack.problem import LineMap, Product

ROWS, ENTRIES = 4096, PerOperand(1 << 26, 1 << 24)
"""What a sample has at least: rows, or as many as make up these entries.

A has more: it is the activations of linear layers, in whose columns more rows are larger, whereas
the rows of weights are alike."""

STEADY = frozenset({"mix", "optimal", "best", "block", "row/row"})
"""Strategies whose counts of a sample are within two percent of those of more rows, where
operands are drawn from a profile; ``docs/emulator.md`` has how far they are from real ones."""


def sampled_rows(strategy: str, block: int | None, d: int) -> PerOperand[int] | None:
    """Return how many rows of each operand are drawn, to count on; None for all.

    The more rows there are, the larger is the largest entry of a column. So counts of a sample are
    too low where columns are unpacked: with a strategy that unpacks columns whether it is cheap or
    not, by 10% for 4096 of 9216 rows. Sparse products, as
    those of blocks of one column, are not scaled.

    Parameters
    ----------
    strategy : str
        Its name.
    block : int or None
        Columns of a K-block, for strategies that cut any.
    d : int
        Columns of the operands.
    """
    if strategy not in STEADY or block == 1:
        return None
    return ENTRIES.map(lambda entries: max(ROWS, entries // max(1, d)))


class Scaling:
    """Turns the problem of a sample into that of the whole GEMM, without its digits.

    Lines of products grow as the rows of their operand do; K stays as it is. Where the sample has
    all rows, the products of every matrix of the batch are those of the sample. Otherwise digits
    are left out: their place is taken by matrices of the right shape that hold one value, and lines
    go to the sample's places, so that such a problem can be counted and not run.

    Parameters
    ----------
    sample, whole : tuple of int
        ``(batch, n, d, h)`` of the sample, whose batch is 1, and of the GEMM.

    Raises
    ------
    ValueError
        If the sample has another K, or more than one matrix.
    """

    def __init__(self, sample: tuple[int, int, int, int], whole: tuple[int, int, int, int]) -> None:
        if sample[2] != whole[2] or sample[0] != 1:
            raise ValueError(f"a sample of {whole} has all columns and one matrix, got {sample}")
        self._whole = whole
        self._rows = whole[1] / max(1, sample[1])
        self._columns = whole[3] / max(1, sample[3])

    def problem(self, sample: LowBitProblem) -> LowBitProblem:
        """Scale a problem.

        Raises
        ------
        UnsupportedError
            If a product is sparse, and the sample has not all rows.
        """
        batch = self._whole[0]
        is_whole = self._rows == self._columns == 1
        if not is_whole and any(product.is_sparse for product in sample.products):
            raise UnsupportedError("sparse products are not scaled from a sample of rows")
        of_head = _copied if is_whole else self._scaled
        return replace(
            sample,
            products=[product for head in range(batch) for product in of_head(sample, head)],
            shape=self._whole,
            out_of_bound_a=round(sample.out_of_bound_a * batch * self._rows),
            out_of_bound_b=round(sample.out_of_bound_b * batch * self._columns),
        )

    def _scaled(self, sample: LowBitProblem, head: int) -> list[Product]:
        """Scale the products of one matrix; those that share digits go on sharing them."""
        known: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}

        def scaled(digits: Tensor, factor: float) -> Tensor:
            key = (digits.data_ptr(), digits.shape, digits.stride())
            if key not in known:
                lines = _scaled(digits.shape[0], factor)
                known[key] = digits.new_zeros(1).expand(lines, digits.shape[1])
            return known[key]

        found = []
        for product in sample.products:
            assert isinstance(product.a, Tensor)
            assert isinstance(product.b, Tensor)
            found.append(
                replace(
                    product,
                    a=scaled(product.a, self._rows),
                    b=scaled(product.b, self._columns),
                    rows=_scaled_lines(product.rows, self._rows),
                    columns=_scaled_lines(product.columns, self._columns),
                    head=head,
                )
            )
        return found


def _copied(sample: LowBitProblem, head: int) -> list[Product]:
    return [replace(product, head=head) for product in sample.products]


def _scaled(lines: int, factor: float) -> int:
    return max(1, round(lines * factor)) if lines else 0


def _scaled_lines(lines: LineMap, factor: float) -> LineMap:
    return tuple(replace(segment, count=_scaled(segment.count, factor)) for segment in lines)
