"""What a strategy is, and the ones of the paper: pairs of row, column and both, and mix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product as pairs_of
from typing import ClassVar

import torch
from torch import Tensor

from accelsim.unpack.digits import DigitSystem
from accelsim.unpack.expand import expand, products, repeats
from accelsim.unpack.levels import METHODS, Levels, cover
from accelsim.unpack.problem import LowBitProblem, Product


@dataclass(frozen=True)
class IntegerOperand:
    """An operand to unpack; what depends on it alone is worked out once and kept.

    Parameters
    ----------
    values : Tensor
        Integers ``[n, d]`` or ``[batch, n, d]``, magnitudes below 2^31.
    system : DigitSystem
        The digits to write it in.
    """

    values: Tensor
    system: DigitSystem

    @cached_property
    def heads(self) -> Tensor:
        """The values as ``[batch, n, d]``."""
        return self.values if self.values.ndim == 3 else self.values.unsqueeze(0)

    @cached_property
    def counts(self) -> Tensor:
        """Digits that each entry needs, ``[batch, n, d]``."""
        return self.system.count(self.heads)


class Strategy(ABC):
    """A way to rewrite an integer GEMM as low-bit products.

    Attributes
    ----------
    name : str
        The name by which it is found.
    uses_block : bool
        Whether its constructor takes ``block``, the columns of a K-block, which configs sweep.
    """

    name: str
    uses_block: ClassVar[bool] = False

    @abstractmethod
    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Unpack one matrix pair of the batch; return its products and what was chosen."""

    def unpack(self, a: IntegerOperand, b: IntegerOperand) -> LowBitProblem:
        """Unpack a GEMM.

        Parameters
        ----------
        a, b : IntegerOperand
            ``[n, d]`` and ``[h, d]``, or the same with one batch dimension.

        Returns
        -------
        LowBitProblem
            Products of digits that give ``A @ B.T`` exactly.
        """
        batch, n, d = a.heads.shape
        found = [self.unpack_head(a, b, head) for head in range(batch)]
        chosen = Counter(choice for _, choice in found)
        return LowBitProblem(
            products=[product for head_products, _ in found for product in head_products],
            shape=(batch, n, d, b.heads.shape[1]),
            strategy_chosen=next(iter(chosen))
            if len(chosen) == 1
            else ", ".join(f"{choice} ({count} heads)" for choice, count in chosen.most_common()),
            max_digits_a=_largest(a.counts),
            max_digits_b=_largest(b.counts),
            out_of_bound_a=int((a.counts > 1).sum()),
            out_of_bound_b=int((b.counts > 1).sum()),
        )


class Pair(Strategy):
    """One of the paper's methods for A, and one for B after A's columns are repeated."""

    def __init__(self, method_a: str, method_b: str) -> None:
        self.methods = (method_a, method_b)
        self.name = f"{method_a}/{method_b}"

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Unpack A, repeat B's columns as A's were, unpack B, and match the columns."""
        levels_a = cover(a.counts[head], self.methods[0])
        columns = torch.cat(repeats(levels_a))
        levels_b = cover(b.counts[head][:, columns], self.methods[1])
        return build(a, b, head, levels_a, levels_b, columns), self.name


class Mix(Strategy):
    """The cheapest of the paper's nine pairs, for each matrix pair of the batch."""

    name = "mix"

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Cover A and B in all nine ways and write out the one with the fewest products."""
        covers_a = {method: cover(a.counts[head], method) for method in METHODS}
        best = None
        for method_a, method_b in pairs_of(METHODS, METHODS):
            levels_a = covers_a[method_a]
            columns = torch.cat(repeats(levels_a))
            levels_b = cover(b.counts[head][:, columns], method_b)
            cost = int(levels_a.rows.sum() * levels_b.columns.sum() * levels_b.rows.sum())
            if best is None or cost < best[0]:
                best = (cost, f"{method_a}/{method_b}", levels_a, levels_b, columns)
        assert best is not None
        _, name, levels_a, levels_b, columns = best
        return build(a, b, head, levels_a, levels_b, columns), name


def build(
    a: IntegerOperand,
    b: IntegerOperand,
    head: int,
    levels_a: Levels,
    levels_b: Levels,
    columns: Tensor,
) -> list[Product]:
    """Write out the products of one matrix pair for two covers.

    Parameters
    ----------
    a, b : IntegerOperand
        The operands.
    head : int
        The matrix of the batch.
    levels_a, levels_b : Levels
        The covers of A, and of B with its columns repeated.
    columns : Tensor
        int64, the column of B that each repeated column is.
    """
    digits_a = expand(a.heads[head], levels_a, a.system)
    digits_b = expand(b.heads[head][:, columns], levels_b, b.system)
    return products(digits_a, digits_b, levels_a, levels_b, (a.system, b.system), head)


def _largest(counts: Tensor) -> int:
    return int(counts.max()) if counts.numel() else 1
