"""Building blocks of config keys: sections, sweeps, and values for A and for B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from accelsim.config.problems import shown
from accelsim.errors import InputError
from accelsim.settings import KINDS, OTHERS, PerKind
from accelsim.types import SIDES, PerOperand, StrategyChoice

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
    known = isinstance(value, PerOperand | PerKind | StrategyChoice)
    return value.to_record() if known else value


class Pair(Section, Generic[T]):
    """A value for A and one for B, as a config writes them."""

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


class ByKind(Section, Generic[T]):
    """A value for each kind of operand of a model, as a config writes them."""

    weights: T | None = None
    activations: T | None = None
    attention: T | None = None
    gradients: T | None = None
    default: T | None = None


@dataclass(frozen=True)
class EachKind:
    """Lets a field take ``v`` or a mapping from kinds of operands and gives a `PerKind`.

    Parameters
    ----------
    kind : type
        What each value is, as pydantic takes it.
    """

    kind: Any

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        by_kind: Any = ByKind
        return handler.generate_schema(
            Annotated[by_kind[self.kind], BeforeValidator(_as_default), AfterValidator(_each_kind)]
        )

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = handler.resolve_ref_schema(handler(core_schema))
        allowed = mapping["properties"][OTHERS]["anyOf"]
        one = next(schema for schema in allowed if schema != {"type": "null"})
        properties = dict.fromkeys((*KINDS, OTHERS), one)
        return {"anyOf": [one, {**mapping, "title": "By kind", "properties": properties}]}


AUTO: Literal["auto"] = "auto"
"""What stands for a value that is found for each GEMM."""


@dataclass(frozen=True)
class OrAuto:
    """Lets a field take the text ``auto`` as well."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_or_auto, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        inner = handler(core)
        return {"anyOf": [*inner.get("anyOf", [inner]), {"const": AUTO}]}


def _or_auto(value: Any, handler: Any) -> Any:
    if isinstance(value, str) and value.lower().startswith(AUTO) and value != AUTO:
        raise explained(f"found {shown(value)}; did you mean {AUTO!r}?")
    return value if value == AUTO else handler(value)


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


def _as_default(value: Any) -> Any:
    return value if isinstance(value, dict) else {OTHERS: value}


def _each_kind(given: ByKind[T]) -> PerKind[T]:
    values: dict[str, T] = {
        kind: value for kind in (*KINDS, OTHERS) if (value := getattr(given, kind)) is not None
    }
    try:
        return PerKind.spread(values)
    except InputError as error:
        raise explained(error) from error


def explained(message: object) -> PydanticCustomError:
    """Make an error whose message is shown unchanged, without the key's description."""
    return PydanticCustomError("explained", "{message}", {"message": str(message)})


def alternatives(annotation: Any) -> tuple[str, ...]:
    """Return the keys of a mapping that a field takes in place of one value, if it takes any."""
    for part in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        if isinstance(part, EachOperand):
            return SIDES
        if isinstance(part, EachKind):
            return (*KINDS, OTHERS)
        if found := alternatives(part):
            return found
    return ()


def as_tuple(value: Any) -> Any:
    """Take a scalar as a list of one."""
    if value is None:
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise explained(f"found {shown(_as_config(value))} twice; expected different values")
    return values


def plain_number(value: float) -> float:
    """Give 15.0 as 15, so that both spellings are one setting."""
    return int(value) if value.is_integer() else value


Sweep: TypeAlias = Annotated[
    tuple[T, ...],
    Field(min_length=1),
    BeforeValidator(as_tuple),
    AfterValidator(_different),
    OneOrMore(),
]
"""Values that are swept; a scalar is a list of one."""

Selection: TypeAlias = Annotated[
    tuple[T, ...], BeforeValidator(as_tuple), AfterValidator(_different), OneOrMore()
]
"""Like `Sweep`, but may be empty."""
