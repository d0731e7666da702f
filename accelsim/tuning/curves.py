"""What rounding an operand more or less finely costs and changes, counted ahead of any product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from accelsim.arithmetic.rounding import Quantized, quantize
from accelsim.errors import DataError
from accelsim.integer_mode import Replacing
from accelsim.tuning.places import Place, Shape
from accelsim.tuning.ratios import ratio_of, sampled
from accelsim.types import SIDES, PerOperand, Side, StrategyChoice
from accelsim.unpack import DigitSystem, load_strategy
from workloads.tracing import GemmCall

LARGEST = 2**31
"""Settings that make larger integers are not chosen: on another text they might reach 2^62."""

Setting = tuple[float, float]
"""A percentile and a β."""


@dataclass(frozen=True)
class Grid:
    """The settings among which a plan chooses.

    Parameters
    ----------
    betas : tuple of float
        In rising order.
    bits : tuple of int
        Widths of digits.
    percentiles : tuple of float
        Each goes with each β.
    granularity : str
        Of the rounding.
    strategy : StrategyChoice
        How operands are unpacked.
    block : int
        Columns of a K-block, for strategies that cut any.
    """

    betas: tuple[float, ...]
    bits: tuple[int, ...]
    percentiles: tuple[float, ...]
    granularity: str
    strategy: StrategyChoice
    block: int

    @property
    def settings(self) -> list[Setting]:
        """Every percentile with every β."""
        return [(percentile, beta) for percentile in self.percentiles for beta in self.betas]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {
            "beta": list(self.betas),
            "bits": list(self.bits),
            "percentile": list(self.percentiles),
            "granularity": self.granularity,
            "strategy": self.strategy.to_record(),
            "block": self.block,
        }


@dataclass(frozen=True)
class Curve:
    """One kind of operand of one place under the settings of a grid.

    Parameters
    ----------
    ratios : dict
        For each GEMM of the place and number of bits, see `of_gemm`: the unpack ratio at each
        setting, beside an operand that fits one digit; infinite, as the noise, where an entry may
        become too large.
    noise : list of float
        At each setting: the expected square of the error of the place's products, over that of the
        products, if no other operand is rounded; the sum over its GEMMs.
    measured : list of float
        The noise at the settings whose harm was measured.
    """

    ratios: dict[str, list[float]]
    noise: list[float]
    measured: list[float]


def of_gemm(gemm: Shape, bits: int) -> str:
    """Return the key of the ratios of a GEMM in digits of b bits."""
    return f"{gemm.phase}, {bits} bits"


Curves = dict[str, dict[str, Curve]]
"""Place and kind to its curve."""


class Counting(Replacing):
    """Computes GEMMs as they are, and counts what unpacking their operands would take.

    The ratio of a kind is counted beside an operand that fits one digit, from a sample of rows; so
    is the noise, see `accelsim.analysis.choosing`.

    Parameters
    ----------
    model : nn.Module
        Any model.
    places : mapping
        What is counted, by name.
    grid : Grid
        The settings.
    measured : sequence of tuple
        Percentiles and values of β at which the noise is wanted, too.
    counted : callable
        Called with the name of each GEMM that is done.

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
        measured: Sequence[Setting],
        counted: Callable[[str], None],
    ) -> None:
        super().__init__(model)
        self._places = {place.name: place for place in places}
        self._grid, self._measured, self._counted = grid, measured, counted
        self._strategy = load_strategy(grid.strategy, grid.block)
        self._done: set[tuple[str, str]] = set()
        self.curves: Curves = {place.name: self._empty(place) for place in places}

    def product(self, call: GemmCall) -> Tensor:
        """Return the product in floating point."""
        name, product = call.site.place, call.a @ call.b.mT
        if name in self._places and (name, call.phase) not in self._done:
            self._done.add((name, call.phase))
            self._count(self._places[name].gemm(call.phase), self.curves[name], call, product)
            self._counted(call.name)
        return product

    def _empty(self, place: Place) -> dict[str, Curve]:
        settings = len(self._grid.settings)
        return {
            kind: Curve(
                {
                    of_gemm(gemm, bits): [1.0] * settings
                    for gemm in place.gemms
                    if gemm.sides(kind)
                    for bits in self._grid.bits
                },
                [0.0] * settings,
                [0.0] * len(self._measured),
            )
            for kind in place.distinct_kinds
        }

    def _count(self, gemm: Shape, found: dict[str, Curve], call: GemmCall, product: Tensor) -> None:
        grid = self._grid
        operands = PerOperand(call.a, call.b)
        for side in SIDES:
            x, other = sampled(operands.of(side)), operands.of("b" if side == "a" else "a")
            noise = Noise(x, other, product if side == "a" else product.mT)
            own = found[gemm.kinds.of(side)]
            for index, setting in enumerate(grid.settings):
                rounded = _rounded(x, setting, grid)
                own.noise[index] += math.inf if rounded is None else noise.of(rounded)
                for bits in grid.bits:
                    own.ratios[of_gemm(gemm, bits)][index] *= self._ratio(
                        rounded, side, other, bits
                    )
            for index, setting in enumerate(self._measured):
                rounded = _rounded(x, setting, grid, most=math.inf)
                own.measured[index] += math.inf if rounded is None else noise.of(rounded)

    def _ratio(self, rounded: Quantized | None, side: Side, other: Tensor, bits: int) -> float:
        if rounded is None:
            return math.inf
        system = DigitSystem("balanced", bits)
        return ratio_of(rounded, side, other.shape[-2], system, self._strategy)[0]


def _rounded(x: Tensor, setting: Setting, grid: Grid, most: float = LARGEST) -> Quantized | None:
    """Round an operand; None where an entry is so large that on another text it may be too large.

    Probabilities of attention can be: the percentile of a row of them may be 1e-20.
    """
    try:
        found = quantize(x, *setting, grid.granularity, "nonzero")
    except DataError:
        return None
    return found if found.largest < most else None


class Noise:
    """What rounding an operand adds to the products of a place, if rounding errors are independent.

    Parameters
    ----------
    x : Tensor
        A sample of the operand's rows, ``[..., rows, d]``.
    other : Tensor
        The other operand.
    product : Tensor
        Of both, a row for each row of the whole operand.
    """

    def __init__(self, x: Tensor, other: Tensor, product: Tensor) -> None:
        self._x = x.double()
        self._columns = other.double().square().sum(-2, keepdim=True)
        self._norm = float(sampled(product).double().square().sum())

    def of(self, rounded: Quantized) -> float:
        """Return the square of the products' error over that of the products."""
        scale = rounded.scale.double() * 2.0**rounded.scale_exponent
        change = (rounded.values.double() / scale).reshape(self._x.shape) - self._x
        error = float((change.square() * self._columns).sum())
        return error / self._norm if self._norm else 0.0
