"""The cheapest of all strategies that are installed."""

from __future__ import annotations

import warnings
from functools import cached_property

from accelsim.errors import InputError
from accelsim.unpack.bound import least_macs_of_covers
from accelsim.unpack.heavy import part
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import Product, macs
from accelsim.unpack.registry import make, registry
from accelsim.unpack.strategy import Strategy

COVERS = ("mix", "optimal")
"""Strategies that cover operands by rows and columns, as the paper's pairs do."""


class Best(Strategy):
    """The cheapest of everything installed, for each matrix pair of the batch.

    Ties go to the strategy that is listed first. A plug-in that cannot be loaded is left out with a
    warning.

    Parameters
    ----------
    block : int
        Columns of a K-block, for the strategies that cut any.
    """

    name = "best"
    uses_block = True

    def __init__(self, block: int = 32) -> None:
        self.block = block

    @cached_property
    def candidates(self) -> list[Strategy]:
        """All strategies but this one; the pairs of the paper are in `mix`."""
        found = []
        for name in registry.names():
            if name != self.name:
                try:
                    found.append(make(registry.get(name), name, {}, self.block))
                except InputError as error:
                    warnings.warn(f"best leaves a strategy out: {error}", stacklevel=2)
        return sorted(found, key=lambda strategy: strategy.name in COVERS)

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Try every strategy, except covers that a bound shows to be more expensive."""
        left, right = part(a, head), part(b, head)
        bound = least_macs_of_covers(left, right)
        best: tuple[list[Product], str] | None = None
        for strategy in self.candidates:
            if best is not None and strategy.name in COVERS and macs(best[0]) <= bound:
                continue
            found = strategy.unpack_head(a, b, head)
            if best is None or macs(found[0]) < macs(best[0]):
                best = found
        assert best is not None, "mix, optimal and block are always there"
        return best
