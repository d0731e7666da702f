"""The sections ``quantize`` and ``unpack``: how operands become integers, and those digits.

A field's `description` is what a message says is allowed there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, WithJsonSchema

from accelsim.config.fields import (
    EachKind,
    EachOperand,
    OrAuto,
    Section,
    Sweep,
    explained,
    plain_number,
)
from accelsim.errors import InputError, unknown_name
from accelsim.settings import KINDS, Automatic, PerKind, Unpacking
from accelsim.types import FUSED, SIDES, PerOperand, Rounding, StrategyChoice
from accelsim.unpack import DIGIT_SYSTEMS, split_options, strategy_class

T = TypeVar("T")

Percentile: TypeAlias = Annotated[float, Field(gt=0, le=100), AfterValidator(plain_number)]
Beta: TypeAlias = Annotated[float, Field(gt=0, lt=2**32), AfterValidator(plain_number)]
"""The integer at the percentile is β / 2, and none may reach 2^31."""

_BetaOrAuto: TypeAlias = Annotated[PerOperand[float] | Literal["auto"], EachOperand(Beta), OrAuto()]

Granularity: TypeAlias = Literal["tensor", "row"]
ZeroAlpha: TypeAlias = Literal["error", "nonzero"]

PERCENTILE = "a number above 0 and at most 100"
BETA = "a number above 0 and below 2^32"

Bits: TypeAlias = Annotated[PerOperand[int], EachOperand(Annotated[int, Field(ge=2, le=16)])]


def strategy_choice(value: Any) -> Any:
    """Take ``name``, ``name(option=value)`` or ``{name: ..., option: ...}`` as a `StrategyChoice`.

    Any other value is returned unchanged.

    Raises
    ------
    InputError
        If the options in a text cannot be read.
    """
    if isinstance(value, str):
        return StrategyChoice(*split_options(value))
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        options = {key: option for key, option in value.items() if key != "name"}
        return StrategyChoice(value["name"], options)
    return value


def _strategy(value: Any) -> Any:
    try:
        return strategy_choice(value)
    except InputError as error:
        raise explained(error) from error


def _digits(name: str) -> str:
    if name not in DIGIT_SYSTEMS:
        raise explained(unknown_name("digit system", name, DIGIT_SYSTEMS))
    return name


DigitsName: TypeAlias = Annotated[str, AfterValidator(_digits)]
StrategyEntry: TypeAlias = Annotated[
    InstanceOf[StrategyChoice],
    WithJsonSchema({}),
    BeforeValidator(_strategy),
]


def _default(value: T) -> Callable[[], tuple[T]]:
    return lambda: (value,)


class QuantizeSection(Section):
    """``quantize``: how the operands A and B of a GEMM are rounded to integers."""

    percentile: Sweep[Annotated[PerOperand[float], EachOperand(Percentile)]] = Field(
        default_factory=_default(PerOperand[float].both(95)),
        description=f"{PERCENTILE}, {{a: ..., b: ...}}, or a list of these",
    )
    beta: Sweep[_BetaOrAuto] = Field(
        default_factory=_default(PerOperand[float].both(15)),
        description=f"{BETA}, {{a: ..., b: ...}}, or a list of these",
    )
    granularity: Sweep[Granularity] = Field(default=("tensor",), description="tensor or row")
    zero_alpha: ZeroAlpha = Field(default="error", description="error or nonzero")
    tolerance: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="a relative error above 0, for `beta: auto`"
    )

    def roundings(self) -> list[PerOperand[Rounding] | Automatic]:
        """Return every combination of percentile, beta and granularity; the last varies fastest."""
        return [
            self._rounding(percentile, beta, granularity)
            for percentile, beta, granularity in product(
                self.percentile, self.beta, self.granularity
            )
        ]

    def _rounding(
        self, percentile: PerOperand[float], beta: PerOperand[float] | str, granularity: str
    ) -> PerOperand[Rounding] | Automatic:
        both = percentile.map(lambda p: Rounding(p, 1, granularity, self.zero_alpha))
        if isinstance(beta, str):
            assert self.tolerance is not None, "`beta: auto` without one is refused"
            return Automatic(both, self.tolerance)
        return PerOperand(*(replace(both.of(side), beta=beta.of(side)) for side in SIDES))


class ModelQuantizeSection(Section):
    """The same keys where a model is known: by kind of operand instead of by side.

    β is 255 by default, and the percentile of an operand that is mostly zeros, as attention
    probabilities are, is that of its other entries.
    """

    percentile: Sweep[Annotated[PerKind[float], EachKind(Percentile)]] = Field(
        default_factory=_default(PerKind[float].all(95)),
        description=f"{PERCENTILE}, a mapping from kinds of operands, or a list of these",
    )
    beta: Sweep[Annotated[PerKind[float], EachKind(Beta)]] = Field(
        default_factory=_default(PerKind[float].all(255)),
        description=f"{BETA}, a mapping from kinds of operands, or a list of these",
    )
    granularity: Sweep[Granularity] = Field(default=("tensor",), description="tensor or row")
    zero_alpha: ZeroAlpha = Field(default="nonzero", description="error or nonzero")

    def roundings(self) -> list[PerKind[Rounding]]:
        """Return every combination of percentile, beta and granularity; the last varies fastest."""
        return [
            PerKind(
                *(
                    Rounding(percentile.of(kind), beta.of(kind), granularity, self.zero_alpha)
                    for kind in KINDS
                )
            )
            for percentile, beta, granularity in product(
                self.percentile, self.beta, self.granularity
            )
        ]


class UnpackSection(Section):
    """``unpack``: how integers become digits of b bits.

    Names of strategies are checked apart, against what is installed.
    """

    bits: Sweep[Bits] = Field(
        default_factory=_default(PerOperand.both(8)),
        description="a whole number from 2 to 16, {a: ..., b: ...}, or a list of these",
    )
    strategy: Sweep[StrategyEntry] = Field(
        default=(StrategyChoice("mix"),),
        description="the name of a strategy, {name: ..., options}, or a list of these",
    )
    digits: Sweep[DigitsName] = Field(
        default=("balanced",), description="the name of a digit system, or a list of these"
    )
    block: Sweep[Annotated[int, Field(ge=1)]] = Field(
        default=(32,), description="a whole number of columns, at least 1, or a list of these"
    )

    def unpackings(self, folder: Path) -> list[Unpacking]:
        """Return every combination of bits, strategy, digits and block; the last varies fastest.

        Only a strategy whose class says ``uses_block = True`` is swept over `block`; any other
        has one point, with block None.

        Parameters
        ----------
        folder : Path
            What the path of a strategy in a file starts from.
        """
        return [
            Unpacking(bits, digits, strategy, block)
            for bits, strategy, digits in product(self.bits, self.strategy, self.digits)
            for block in (self.block if _uses_block(strategy, folder) else (None,))
        ]


def _uses_block(choice: StrategyChoice, folder: Path) -> bool:
    if choice.name == FUSED:
        return False
    plugin = strategy_class(choice.name, folder)
    return plugin is not None and plugin.uses_block
