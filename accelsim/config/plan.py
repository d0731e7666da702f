"""What a plan says, by globs of GEMMs: how each kind of operand is rounded and unpacked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field

from accelsim.config.document import content_hash
from accelsim.config.fields import OneOrMore, Section, as_tuple
from accelsim.config.settings import (
    BETA,
    PERCENTILE,
    Beta,
    Bits,
    DigitsName,
    Granularity,
    Percentile,
    StrategyEntry,
    ZeroAlpha,
)
from accelsim.errors import InputError
from accelsim.settings import KINDS, PerKind
from accelsim.types import Rounding
from workloads.gemm import listed
from workloads.tracing import place_of_name

T = TypeVar("T")

SCHEMA = 1
"""The version of the format; a file of a newer one is refused."""

_Phases: TypeAlias = Annotated[
    tuple[Literal["forward", "grad_input", "grad_weight"], ...],
    BeforeValidator(as_tuple),
    OneOrMore(),
]


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError
    return value


Given: TypeAlias = Annotated[T | None, BeforeValidator(_not_null)]
"""A value that may be missing; a file may not write null."""


class KindSection(Section):
    """The rounding of the operands of one kind; what is missing is as in an entry before."""

    beta: Given[Beta] = Field(default=None, description=BETA)
    percentile: Given[Percentile] = Field(default=None, description=PERCENTILE)
    granularity: Given[Granularity] = Field(default=None, description="tensor or row")
    zero_alpha: Given[ZeroAlpha] = Field(default=None, description="error or nonzero")

    def given(self) -> dict[str, Any]:
        """Return what is not missing, by the names of `accelsim.types.Rounding`."""
        values = {name: getattr(self, name) for name in KindSection.model_fields}
        return {name: value for name, value in values.items() if value is not None}


class EntrySection(KindSection):
    """An entry of a plan; the keys of rounding hold for the kinds that have none of their own."""

    weights: Given[KindSection] = Field(default=None, description="a mapping")
    activations: Given[KindSection] = Field(default=None, description="a mapping")
    attention: Given[KindSection] = Field(default=None, description="a mapping")
    gradients: Given[KindSection] = Field(default=None, description="a mapping")
    phases: Given[_Phases] = Field(
        default=None, min_length=1, description="a list of forward, grad_input and grad_weight"
    )
    bits: Given[Bits] = Field(
        default=None, description="a whole number from 2 to 16, or {a: ..., b: ...}"
    )
    strategy: Given[StrategyEntry] = Field(
        default=None, description="the name of a strategy, or {name: ..., options}"
    )
    digits: Given[DigitsName] = Field(default=None, description="the name of a digit system")
    block: Given[Annotated[int, Field(ge=1)]] = Field(
        default=None, description="a whole number of columns, at least 1"
    )

    def rounding(self) -> PerKind[dict[str, Any]]:
        """Return what is said of the rounding of each kind."""
        own = [getattr(self, kind) for kind in KINDS]
        return PerKind(*({**self.given(), **(each.given() if each else {})} for each in own))

    def unpacking(self) -> dict[str, Any]:
        """Return what is said of unpacking, by the names of `accelsim.settings.Unpacking`."""
        values = {name: getattr(self, name) for name in ("bits", "digits", "strategy", "block")}
        return {name: value for name, value in values.items() if value is not None}


class PlanSections(Section):
    """A plan; `about` is free text or values for people and says nothing about GEMMs."""

    about: Any = Field(default=None, description="anything")
    gemms: dict[str, EntrySection] = Field(
        min_length=1, description="a mapping from globs of GEMMs, such as '*.down_proj'"
    )


@dataclass(frozen=True)
class PlanEntry:
    """What a plan says of the GEMMs that a glob matches.

    Parameters
    ----------
    glob : str
        Of the GEMMs' places, such as ``*.down_proj`` or ``*.qk``; see `Plan`.
    rounding : PerKind of dict
        Arguments of `Rounding`, those that the entry gives.
    unpacking : dict
        Arguments of `Unpacking`, those that the entry gives.
    phases : tuple of str or None
        Of `workloads.PHASES`; None for all.
    """

    glob: str
    rounding: PerKind[dict[str, Any]]
    unpacking: dict[str, Any]
    phases: tuple[str, ...] | None = None

    def matches(self, place: str, phase: str) -> bool:
        """Whether it is about a GEMM.

        Parameters
        ----------
        place : str
            Of the GEMM.
        phase : str
            Of `workloads.PHASES`.
        """
        return fnmatchcase(place, self.glob) and (self.phases is None or phase in self.phases)


@dataclass(frozen=True)
class Plan:
    """Settings of rounding and unpacking for the GEMMs of a model.

    A GEMM goes by its place: the name of its module, with ``.qk`` or ``.pv`` for the products of
    attention. Of several entries that match, a later one replaces what it has keys for; what no
    entry says is as in the command's other settings.

    Parameters
    ----------
    path : Path
        The file.
    sections : PlanSections
        What it says.
    entries : tuple of PlanEntry
        The same, in the order of the file.
    """

    path: Path
    sections: PlanSections = field(repr=False)
    entries: tuple[PlanEntry, ...]

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of all entries."""
        return tuple(entry.glob for entry in self.entries)

    def rounding(
        self, place: str, phase: str, base: PerKind[Mapping[str, Any]]
    ) -> PerKind[Rounding | None]:
        """Return how operands of each kind are rounded in a GEMM.

        Parameters
        ----------
        place, phase : str
            Of the GEMM.
        base : PerKind of mapping
            Arguments of `Rounding` that hold where the plan says nothing.

        Returns
        -------
        PerKind of Rounding or None
            None for a kind without a β.
        """
        found = base.map(lambda given: dict(given))
        for entry in self.entries:
            if entry.matches(place, phase):
                for kind in KINDS:
                    found.of(kind).update(entry.rounding.of(kind))
        return found.map(lambda given: Rounding(**given) if "beta" in given else None)

    def unpacking(self, place: str, phase: str) -> dict[str, Any]:
        """Return what is said of unpacking in a GEMM: arguments of `accelsim.settings.Unpacking`.

        Parameters
        ----------
        place, phase : str
            Of the GEMM.
        """
        found: dict[str, Any] = {}
        for entry in self.entries:
            if entry.matches(place, phase):
                found |= entry.unpacking
        return found

    def check(self, places: Iterable[str]) -> None:
        """See that every glob matches one of these places.

        Raises
        ------
        InputError
            With the names that there are.
        """
        known = list(dict.fromkeys(places))
        for glob in self.globs:
            if not any(fnmatchcase(place, glob) for place in known):
                whole = place_of_name(glob)
                instead = (
                    f"{whole!r} has all GEMMs of this layer, which go together in a plan"
                    if whole in known
                    else f"there are: {listed(known)}"
                )
                raise InputError(f"{self.path}: no GEMM matches {glob!r}; {instead}")

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, in the form of its file."""
        gemms = {glob: _as_written(entry) for glob, entry in self.sections.gemms.items()}
        about = {} if self.sections.about is None else {"about": self.sections.about}
        return {"schema": SCHEMA, **about, "gemms": gemms}

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of what it says of GEMMs, in its order."""
        return content_hash({"schema": SCHEMA, "gemms": list(self.to_dict()["gemms"].items())})


def _as_written(section: Section) -> dict[str, Any]:
    written = {}
    for name, value in section.to_config().items():
        if value is not None:
            own = getattr(section, name)
            written[name] = _as_written(own) if isinstance(own, Section) else value
    return written


def entries_of(sections: PlanSections) -> tuple[PlanEntry, ...]:
    """Return the entries of a plan, in their order.

    Parameters
    ----------
    sections : PlanSections
        What its file says.
    """
    return tuple(
        PlanEntry(glob, section.rounding(), section.unpacking(), section.phases)
        for glob, section in sections.gemms.items()
    )
