"""The keys of a config, their ranges and their defaults, as pydantic models.

A field's `description` is what a message says is allowed there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    InstanceOf,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from accelsim.config.problems import shown
from accelsim.errors import InputError
from accelsim.types import PerOperand, StrategyChoice
from accelsim.unpack import split_options

T = TypeVar("T")


class Section(BaseModel):
    """A mapping of a config: no unknown key, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def to_config(self) -> dict[str, Any]:
        """Return the section as a config has it, as JSON values, defaults included."""
        return {name: _as_config(getattr(self, name)) for name in type(self).model_fields}


def _as_config(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_config(item) for item in value]
    if isinstance(value, Section):
        return value.to_config()
    return value.to_record() if isinstance(value, PerOperand | StrategyChoice) else value


class Pair(Section, Generic[T]):
    """How a config writes one value for A and one for B."""

    a: T
    b: T


@dataclass(frozen=True)
class EachOperand:
    """Lets a field take ``v`` or ``{a: v, b: w}`` and gives a `PerOperand`.

    Parameters
    ----------
    kind : type
        What `v` and `w` are, as pydantic takes it.
    """

    kind: Any

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        pair: Any = Pair
        return handler.generate_schema(
            Annotated[pair[self.kind], BeforeValidator(_spread), AfterValidator(_joined)]
        )

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        pair = handler.resolve_ref_schema(handler(core_schema))
        one = {key: value for key, value in pair["properties"]["a"].items() if key != "title"}
        properties = {"a": one, "b": one}
        return {"anyOf": [one, {**pair, "title": "A and B", "properties": properties}]}


class OneOrMore:
    """Says in the JSON Schema of a list that its only item may stand alone."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        several = handler(core_schema)
        return {"anyOf": [several["items"], several]}


def _spread(value: Any) -> Any:
    return value if isinstance(value, dict) else {"a": value, "b": value}


def _joined(pair: Pair[T]) -> PerOperand[T]:
    return PerOperand(pair.a, pair.b)


def _as_tuple(value: Any) -> Any:
    """Take a scalar as a list of one."""
    if value is None:
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            plain = value.to_record() if isinstance(value, PerOperand | StrategyChoice) else value
            raise PydanticCustomError(
                "explained",
                "found {value} twice; expected different values",
                {"value": shown(plain)},
            )
    return values


def plain_number(value: float) -> float:
    """Give 15.0 as 15, so that both spellings are one setting."""
    return int(value) if value.is_integer() else value


Sweep: TypeAlias = Annotated[
    tuple[T, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    AfterValidator(_different),
    OneOrMore(),
]
"""Values that are swept; a scalar is a list of one."""

Selection: TypeAlias = Annotated[
    tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_different), OneOrMore()
]
"""Like `Sweep`, but may be empty."""

Percentile: TypeAlias = Annotated[
    PerOperand[float],
    EachOperand(Annotated[float, Field(gt=0, le=100), AfterValidator(plain_number)]),
]
Beta: TypeAlias = Annotated[
    PerOperand[float],
    EachOperand(Annotated[float, Field(gt=0, lt=2**32), AfterValidator(plain_number)]),
]
"""The integer at the percentile is β / 2, and none may reach 2^31."""

Bits: TypeAlias = Annotated[PerOperand[int], EachOperand(Annotated[int, Field(ge=2, le=16)])]


def strategy_choice(value: Any) -> Any:
    """Take ``name``, ``name(option=value)`` or ``{name: ..., option: ...}`` as a `StrategyChoice`.

    What is none of these is returned as it is.

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
        raise PydanticCustomError("explained", "{message}", {"message": str(error)}) from error


StrategyEntry: TypeAlias = Annotated[
    InstanceOf[StrategyChoice],
    WithJsonSchema({}),
    BeforeValidator(_strategy),
]


def _default(value: T) -> Callable[[], tuple[T]]:
    return lambda: (value,)


class QuantizeSection(Section):
    """``quantize``: how operands are rounded to integers (DESIGN section 2)."""

    percentile: Sweep[Percentile] = Field(
        default_factory=_default(PerOperand[float].both(95)),
        description="a number above 0 and at most 100, {a: ..., b: ...}, or a list of these",
    )
    beta: Sweep[Beta] = Field(
        default_factory=_default(PerOperand[float].both(15)),
        description="a number above 0 and below 2^32, {a: ..., b: ...}, or a list of these",
    )
    granularity: Sweep[Literal["tensor", "row"]] = Field(
        default=("tensor",), description="tensor or row"
    )
    zero_alpha: Literal["error", "nonzero"] = Field(default="error", description="error or nonzero")


class UnpackSection(Section):
    """``unpack``: how integers become digits of b bits.

    Names of strategies and digit systems are checked apart, against what is installed.
    """

    bits: Sweep[Bits] = Field(
        default_factory=_default(PerOperand.both(8)),
        description="a whole number from 2 to 16, {a: ..., b: ...}, or a list of these",
    )
    strategy: Sweep[StrategyEntry] = Field(
        default=(StrategyChoice("mix"),),
        description="the name of a strategy, {name: ..., options}, or a list of these",
    )
    digits: Sweep[str] = Field(
        default=("balanced",), description="the name of a digit system, or a list of these"
    )
    block: Sweep[Annotated[int, Field(ge=1)]] = Field(
        default=(32,), description="a whole number of columns, at least 1, or a list of these"
    )


class TimingSection(Section):
    """``timing``: how often each stage is timed, and what is prepared outside the total.

    With a `target_error`, `repeats` is the least number: there are more until the median is that
    certain or `budget_s` seconds are spent on the record. With `roofline` the run ends with a
    measurement of each backend's highest rate and of its device's memory.
    """

    repeats: Annotated[int, Field(ge=1)] = Field(
        default=20, description="a whole number, at least 1"
    )
    warmup: Annotated[int, Field(ge=0)] = Field(default=3, description="a whole number, at least 0")
    target_error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="a number between 0 and 1, such as 0.02 for 2%"
    )
    budget_s: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="a number of seconds above 0"
    )
    cache: Literal["warm", "cold"] = Field(default="warm", description="warm or cold")
    prepared: Selection[Literal["a", "b"]] = Field(
        default=(), description="a list of the operands a and b"
    )
    roofline: bool = Field(default=False, description="true or false")


class ConfigSections(Section):
    """A whole config; what `workloads` and `backends` hold is checked apart."""

    name: str | None = Field(
        default=None,
        pattern=r"^\w[\w .+-]*$",
        description="text of letters, digits, spaces and . _ + -, beginning with a letter or digit",
    )
    workloads: Annotated[tuple[Any, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, description="a list of at least one workload"
    )
    quantize: QuantizeSection = Field(default=QuantizeSection(), description="a mapping")
    unpack: UnpackSection = Field(default=UnpackSection(), description="a mapping")
    backends: Annotated[tuple[Any, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, description="a list of at least one backend"
    )
    baselines: Selection[str] = Field(default=(), description="a list of the names of baselines")
    k_split: Literal["auto", "never"] = Field(default="auto", description="auto or never")
    timing: TimingSection = Field(default=TimingSection(), description="a mapping")
    output: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the path of a folder, from the current folder"
    )
