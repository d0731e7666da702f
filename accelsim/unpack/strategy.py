"""The base class of strategies, and the paper's: pairs of row, column and both, and mix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from accelsim.unpack.levels import METHODS, Levels, cover
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import LowBitProblem, Product
from accelsim.unpack.products import build, repeated


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
        """Unpack one matrix pair of the batch; return its products and what was chosen.

        Parameters
        ----------
        a, b : IntegerOperand
            The operands.
        head : int
            Which matrix pair of the batch.

        Returns
        -------
        tuple[list[Product], str]
            The products, and what ``strategy_chosen`` shows.
        """

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
        batch, n, d = a.shape
        found = [self.unpack_head(a, b, head) for head in range(batch)]
        return LowBitProblem(
            products=[product for head_products, _ in found for product in head_products],
            shape=(batch, n, d, b.shape[1]),
            strategy_chosen=_chosen([choice for _, choice in found]),
            max_digits_a=a.survey.max_digits,
            max_digits_b=b.survey.max_digits,
            out_of_bound_a=sum(a.survey.out_of_bound),
            out_of_bound_b=sum(b.survey.out_of_bound),
        )


def _chosen(choices: list[str]) -> str:
    """Say what was chosen for the matrices of a batch."""
    if len(set(choices)) == 1:
        return choices[0]
    counted = Counter(choices).most_common()
    return ", ".join(f"{choice} ({count} heads)" for choice, count in counted)


class Pair(Strategy):
    """One of the paper's methods for A, and one for B after A's columns are repeated."""

    def __init__(self, method_a: str, method_b: str) -> None:
        self.methods = (method_a, method_b)
        self.name = f"{method_a}/{method_b}"

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Unpack A, repeat B's columns as A's were, unpack B, and match the columns."""
        levels_a = cover(a, head, self.methods[0])
        levels_b = cover(b, head, self.methods[1], repeated(levels_a))
        return CoverPair(self.name, levels_a, levels_b).products(a, b, head), self.name


class Mix(Strategy):
    """The cheapest of the paper's nine pairs, for each matrix pair of the batch."""

    name = "mix"

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Cover A and B in all nine ways and write out the one with the fewest products."""
        best = cheapest_pair(a, b, head)
        return best.products(a, b, head), best.name


@dataclass(frozen=True)
class CoverPair:
    """Covers of A and of B.

    Parameters
    ----------
    name : str
        The methods that gave them.
    levels_a, levels_b : Levels
        The covers of A, and of B with its columns repeated as A's are.
    """

    name: str
    levels_a: Levels
    levels_b: Levels

    @property
    def macs(self) -> int:
        """Low-bit multiplications."""
        levels_a, levels_b = self.levels_a, self.levels_b
        return int(levels_a.rows.sum() * levels_b.columns.sum() * levels_b.rows.sum())

    def products(self, a: IntegerOperand, b: IntegerOperand, head: int) -> list[Product]:
        """Write out the products of one matrix pair of the batch."""
        return build(a, b, head, self.levels_a, self.levels_b)


def cheapest_pair(a: IntegerOperand, b: IntegerOperand, head: int) -> CoverPair:
    """Return the cheapest of the paper's nine pairs."""
    pairs = []
    for method_a in METHODS:
        levels_a = cover(a, head, method_a)
        columns = repeated(levels_a)
        pairs += [
            CoverPair(f"{method_a}/{method_b}", levels_a, cover(b, head, method_b, columns))
            for method_b in METHODS
        ]
    return min(pairs, key=lambda pair: pair.macs)
