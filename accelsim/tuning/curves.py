"""Unpack ratios as functions of β: what each kind of operand of each place costs, counted ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from accelsim.arithmetic.rounding import quantize
from accelsim.integer_mode import Replacing
from accelsim.tuning.places import Place
from accelsim.tuning.ratios import ratio_of, sampled
from accelsim.types import SIDES, Rounding, StrategyChoice
from accelsim.unpack import DigitSystem, load_strategy
from workloads.tracing import GemmCall


@dataclass(frozen=True)
class Grid:
    """The settings among which a plan chooses.

    Parameters
    ----------
    betas : tuple of float
        In rising order.
    bits : tuple of int
        Widths of digits.
    percentile, granularity
        Of the rounding.
    strategy : StrategyChoice
        How operands are unpacked.
    block : int
        Columns of a K-block, for strategies that cut any.
    """

    betas: tuple[float, ...]
    bits: tuple[int, ...]
    percentile: float
    granularity: str
    strategy: StrategyChoice
    block: int

    def rounding(self, beta: float) -> Rounding:
        """Return the rounding by a β."""
        return Rounding(self.percentile, beta, self.granularity, "nonzero")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {
            "beta": list(self.betas),
            "bits": list(self.bits),
            "percentile": self.percentile,
            "granularity": self.granularity,
            "strategy": self.strategy.to_record(),
            "block": self.block,
        }


Curves = dict[str, dict[str, dict[str, list[float]]]]
"""Place, kind and bits (as text) to the unpack ratio at each β of the grid."""


class Counting(Replacing):
    """Computes GEMMs as they are, and counts what unpacking their operands would take.

    The ratio of a kind is counted beside an operand that fits one digit, from a sample of rows.

    Parameters
    ----------
    model : nn.Module
        Any model.
    places : mapping
        What is counted, by name.
    grid : Grid
        The settings.
    counted : callable
        Called with the name of each place that is done.

    Attributes
    ----------
    curves : Curves
        What was counted.
    """

    def __init__(
        self,
        model: nn.Module,
        places: Sequence[Place],
        grid: Grid,
        counted: Callable[[str], None],
    ) -> None:
        super().__init__(model)
        self._places = {place.name: place for place in places}
        self._grid, self._counted = grid, counted
        self._strategy = load_strategy(grid.strategy, grid.block)
        self.curves: Curves = {}

    def product(self, call: GemmCall) -> Tensor:
        """Return the product in floating point."""
        name = call.site.place
        if name in self._places and name not in self.curves:
            self.curves[name] = self._count(self._places[name], call)
            self._counted(name)
        return call.a @ call.b.mT

    def _count(self, place: Place, call: GemmCall) -> dict[str, dict[str, list[float]]]:
        grid = self._grid
        found = {
            kind: {str(bits): [1.0] * len(grid.betas) for bits in grid.bits}
            for kind in place.distinct_kinds
        }
        for side, operand in zip(SIDES, (call.a, call.b), strict=True):
            x, rows = sampled(operand), place.h if side == "a" else place.n
            own = found[place.kinds.of(side)]
            for index, beta in enumerate(grid.betas):
                how = grid.rounding(beta)
                rounded = quantize(x, how.percentile, beta, how.granularity, how.zero_alpha)
                for bits in grid.bits:
                    system = DigitSystem("balanced", bits)
                    ratio, _ = ratio_of(rounded, side, rows, system, self._strategy)
                    own[str(bits)][index] *= ratio
        return found
