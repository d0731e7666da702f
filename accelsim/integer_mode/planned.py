"""How each GEMM of a model is computed: with the same settings, or as a plan says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accelsim.config.plans import Plan
from accelsim.errors import InputError
from accelsim.integer_mode.routes import Opener
from accelsim.settings import PerKind
from accelsim.types import PerOperand, Rounding
from accelsim.unpack import DigitSystem
from workloads.tracing import GemmCall


@dataclass(frozen=True)
class GemmSettings:
    """The way to compute a GEMM.

    Parameters
    ----------
    rounding : PerKind of Rounding or None
        Of the operands; None for a kind that was given no β.
    digits : PerOperand of DigitSystem
        The digits of A and B.
    opener : callable
        Opens the route of a request.
    """

    rounding: PerKind[Rounding | None]
    digits: PerOperand[DigitSystem]
    opener: Opener

    def of(self, kinds: PerOperand[str], call: GemmCall) -> PerOperand[Rounding]:
        """Return how the operands of a GEMM are rounded.

        Raises
        ------
        InputError
            If there is no β for one of them.
        """
        return kinds.map(lambda kind: self._of(kind, call))

    def _of(self, kind: str, call: GemmCall) -> Rounding:
        found = self.rounding.of(kind)
        if found is None:
            raise InputError(
                f"{call.name} ({call.phase}): the plan gives no beta for its {kind}; give one for "
                f"{call.site.place!r} there, or beta for all that the plan leaves out"
            )
        return found


@dataclass
class Planned:
    """The settings of every GEMM of a model.

    Parameters
    ----------
    plan : Plan or None
        What differs by GEMM; None if nothing does.
    rounding : PerKind of mapping
        Arguments of `Rounding` that hold where the plan says nothing.
    unpacking : mapping
        The same for unpacking: ``bits``, ``digits``, ``strategy`` and ``block``.
    openers : callable
        Called with such a mapping, returns what opens routes.
    """

    plan: Plan | None
    rounding: PerKind[Mapping[str, Any]]
    unpacking: Mapping[str, Any]
    openers: Callable[[Mapping[str, Any]], Opener]
    _by_place: dict[tuple[str, str], GemmSettings] = field(default_factory=dict, init=False)
    _by_value: dict[Any, GemmSettings] = field(default_factory=dict, init=False)

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of the plan."""
        return () if self.plan is None else self.plan.globs

    def check(self) -> None:
        """Raise what is wrong with the settings that hold where the plan says nothing.

        Raises
        ------
        InputError
            If a name is unknown, or the backend does not run here.
        """
        self._settings(self.rounding.map(_rounding), self.unpacking)

    def of(self, place: str, phase: str) -> GemmSettings:
        """Return the settings of a GEMM; GEMMs with equal ones share one object.

        Parameters
        ----------
        place, phase : str
            Of the GEMM; see `Plan`.
        """
        key = ("", "") if self.plan is None else (place, phase)
        found = self._by_place.get(key)
        if found is None:
            found = self._by_place[key] = self._made(place, phase)
        return found

    def _made(self, place: str, phase: str) -> GemmSettings:
        if self.plan is None:
            return self._settings(self.rounding.map(_rounding), self.unpacking)
        unpacking = {**self.unpacking, **self.plan.unpacking(place, phase)}
        return self._settings(self.plan.rounding(place, phase, self.rounding), unpacking)

    def _settings(
        self, rounding: PerKind[Rounding | None], unpacking: Mapping[str, Any]
    ) -> GemmSettings:
        value = rounding, tuple(unpacking.items())
        if value not in self._by_value:
            bits, digits = unpacking["bits"], unpacking["digits"]
            systems = bits.map(lambda width: DigitSystem(digits, width))
            self._by_value[value] = GemmSettings(rounding, systems, self.openers(unpacking))
        return self._by_value[value]


def _rounding(given: Mapping[str, Any]) -> Rounding | None:
    return Rounding(**given) if "beta" in given else None
