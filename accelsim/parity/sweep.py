"""Treatments as the configs of ``accelsim eval`` and ``accelsim train`` write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from accelsim.config import BackendChoice, fields
from accelsim.config.entries import target
from accelsim.config.fields import Sweep
from accelsim.config.plans import Plan
from accelsim.config.settings import ModelQuantizeSection, UnpackSection
from accelsim.integer_mode import Selection
from accelsim.parity.groups import absmax_beta
from accelsim.parity.torchao import SCHEMES, Scheme
from accelsim.parity.treatments import Method, Treatment
from accelsim.settings import PerKind, Unpacking
from accelsim.types import FUSED, Rounding

_GLOBS = "a list of globs of GEMMs' names"


class TreatmentSweep(ModelQuantizeSection, UnpackSection):
    """Treatments as a config writes them: the keys of ``quantize`` and ``unpack``, and which GEMMs.

    Each combination is one treatment. What `backend` names is checked apart.
    """

    method: Method = Field(
        default="integers", description="float, bf16, integers, clip, absmax or torchao"
    )
    group: fields.Selection[Annotated[int, Field(ge=2)]] = Field(
        default=(), description="a whole number of columns, at least 2, or a list of these"
    )
    scheme: fields.Selection[Scheme] = Field(
        default=(), description=f"a list of {', '.join(SCHEMES)}"
    )
    gemms: Sweep[str] = Field(default=("*",), description=_GLOBS)
    skip: fields.Selection[str] = Field(default=(), description=_GLOBS)
    ops: Sweep[Literal["linear", "qk", "pv"]] = Field(
        default=("linear", "qk", "pv"), description="a list of linear, qk and pv"
    )
    backend: Any = Field(default=None, description="the name of a backend, or {name: ..., options}")
    plan: fields.Selection[str] = Field(
        default=(), description="the path of a plan, or a list of these"
    )
    check: bool = Field(default=False, description="true or false")
    prepared: bool = Field(default=False, description="true or false")
    invariant: bool = Field(default=False, description="true or false")

    def unfit(self) -> tuple[str, str] | None:
        """Return a key that does not go with the others, and why, if any."""
        if (misfit := self._unfit_for_method()) is not None:
            return misfit
        if self.prepared and (found := self._unfit_for_prepared()) is not None:
            return found[0], f"{found[1]} (prepared: true)"
        if self.invariant and self.method != "integers":
            return "method", "expected integers (invariant: true)"
        if self.invariant and self.granularity != ("row",):
            return "granularity", "expected row, since others span the batch (invariant: true)"
        return None

    def _unfit_for_method(self) -> tuple[str, str] | None:
        given, method = self.model_fields_set, self.method
        own = {"group": "absmax", "scheme": "torchao"}
        for key, its in own.items():
            if key in given and method != its:
                return key, f"expected none: it is for method: {its}"
        if method not in own.values():
            return None
        for key in ("percentile", "beta", "backend", "strategy", "digits", "block", "check"):
            if key in given:
                return key, f"expected none: {method} has its own (method: {method})"
        if method == "torchao":
            if not self.scheme:
                return "method", f"expected a scheme: {', '.join(SCHEMES)} (method: torchao)"
            if self.ops != ("linear",):
                return "ops", "expected [linear]: torchao has no attention (method: torchao)"
        for key in ("granularity",) if self.group else ():
            if key in given:
                return key, "expected none beside group"
        if any(bits.a != bits.b for bits in self.bits):
            return "bits", "expected one width for both operands (method: absmax)"
        return None

    def _unfit_for_prepared(self) -> tuple[str, str] | None:
        named = isinstance(self.backend, str | None)
        fused = self.backend is None and any(how.name == FUSED for how in self.strategy)
        plain = not fused and all(not how.options for how in self.strategy)
        blocks = {unpacking.block for unpacking in self.unpackings(Path())}
        for key, fits, why in (
            ("method", self.method == "integers", "expected integers"),
            ("ops", self.ops == ("linear",), "expected [linear]: attention has no weights"),
            ("backend", named, "expected a name, without options"),
            ("strategy", plain, "expected a name, without options, that a backend takes"),
            ("strategy", blocks == {None}, "expected one that cuts no blocks"),
            ("check", not self.check, "expected false"),
            ("invariant", not self.invariant, "expected false"),
        ):
            if not fits:
                return key, why
        return None

    def treatments(
        self,
        backend: BackendChoice | None = None,
        folder: Path = Path(),
        plans: Sequence[Plan] = (),
    ) -> list[Treatment]:
        """Return every combination; plans vary fastest, then the settings of `unpackings`.

        Parameters
        ----------
        backend : BackendChoice or None
            What `backend` names.
        folder : Path
            What the path of a strategy in a file starts from.
        plans : sequence of Plan
            What `plan` names.
        """
        selection = Selection(self.gemms, self.skip, self.ops)
        if self.method == "torchao":
            (rounding, *_), (unpacking, *_) = self.roundings(), self.unpackings(folder)
            return [
                Treatment(self.method, rounding, unpacking, selection, scheme=scheme)
                for scheme in self.scheme
            ]
        if self.method == "absmax":
            return self._absmax(selection, folder)
        found = [
            Treatment(self.method, rounding, in_folder(unpacking, folder), selection, backend,
                      self.check, plan, self.prepared, self.invariant)
            for rounding in self.roundings()
            for unpacking in self.unpackings(folder)
            for plan in plans or (None,)
        ]  # fmt: skip
        if self.method == "integers":
            return found
        # What the method does not use makes no difference between treatments.
        return list({str(treatment.to_record()): treatment for treatment in found}.values())

    def _absmax(self, selection: Selection, folder: Path) -> list[Treatment]:
        return [
            Treatment(
                self.method,
                _largest(rounding, unpacking.bits.a),
                unpacking,
                selection,
                group=group,
            )
            for unpacking in self.unpackings(folder)
            for group in self.group or (None,)
            for rounding in self.roundings()
        ]


def _largest(rounding: PerKind[Rounding], bits: int) -> PerKind[Rounding]:
    """Return the rounding by which the largest magnitude is the largest symmetric integer."""
    return rounding.map(lambda how: replace(how, percentile=100, beta=absmax_beta(bits)))


def in_folder(unpacking: Unpacking, folder: Path) -> Unpacking:
    """Make the path of a strategy in a file relative to the current folder instead of `folder`."""
    strategy = unpacking.strategy
    return replace(unpacking, strategy=replace(strategy, name=target(strategy.name, folder)))
