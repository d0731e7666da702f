"""Treatments of a model's GEMMs: floating point, integers, or clipping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field
from torch import nn

from accelsim.config import BackendChoice, fields
from accelsim.config.entries import target
from accelsim.config.fields import Sweep
from accelsim.config.plans import Plan
from accelsim.config.settings import ModelQuantizeSection, UnpackSection
from accelsim.integer_mode import IntegerGemms, Selection, integer_gemms
from accelsim.integer_mode.converted import IntegerConfig, PreparedGemms
from accelsim.parity.clipping import ClippedGemms
from accelsim.settings import KINDS, PerKind, Unpacking
from accelsim.types import FUSED, Rounding, StrategyChoice
from workloads.gemm import OPS
from workloads.tracing import place

Method: TypeAlias = Literal["float", "integers", "clip"]

NOTHING_REPLACED = "no GEMM was computed in integers"
"""Why a treatment that left everything in floating point has no result."""

_GLOBS = "a list of globs of GEMMs' names"


@dataclass(frozen=True)
class Treatment:
    """One way to compute a model's GEMMs.

    Parameters
    ----------
    method : {"float", "integers", "clip"}
        As they are; through integers without clipping; or with clipped operands, not rounded.
    rounding : PerKind of Rounding
        How operands are rounded, or where they are clipped.
    unpacking : Unpacking
        How integers become low-bit products, where a backend multiplies them.
    selection : Selection
        Which GEMMs.
    backend : BackendChoice or None
        What multiplies; for None see `accelsim.integer_gemms`.
    check : bool
        Compare every integer with the oracle's.
    plan : Plan or None
        What goes before these settings, GEMM by GEMM.
    prepared : bool
        Convert linear layers, so that weights are rounded once; see `accelsim.quantize_`.
    invariant : bool
        Make the bits independent of the batch; see `accelsim.invariant`.
    """

    method: Method
    rounding: PerKind[Rounding]
    unpacking: Unpacking
    selection: Selection
    backend: BackendChoice | None = None
    check: bool = False
    plan: Plan | None = None
    prepared: bool = False
    invariant: bool = False

    @property
    def planned(self) -> tuple[str, ...]:
        """The globs of the plan."""
        return () if self.plan is None else self.plan.globs

    @property
    def unpacks(self) -> bool:
        """Whether integers become low-bit products."""
        fused = self.unpacking.strategy.name == FUSED
        return self.method == "integers" and (self.backend is not None or fused)

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        if self.method == "float":
            return "float"
        gemms, skip, ops = self.selection.gemms, self.selection.skip, self.selection.ops
        where = "".join(
            [
                "" if tuple(gemms) == ("*",) else f", {', '.join(gemms)} only",
                f", without {', '.join(skip)}" if skip else "",
                "" if len(ops) == len(OPS) else f", {', '.join(ops)} only",
                self._multiplied() if self.unpacks else "",
                ", prepared" if self.prepared else "",
                ", invariant" if self.invariant else "",
            ]
        )
        percentile = _spelled(self.rounding.map(lambda rounding: rounding.percentile))
        if self.method == "clip":
            return f"clip at p = {percentile}, no rounding{where}"
        beta = _spelled(self.rounding.map(lambda rounding: rounding.beta))
        scales = ", scales per row" if self.rounding.weights.granularity == "row" else ""
        settings = f"p = {percentile}, β = {beta}{scales}{where}"
        return settings if self.plan is None else f"plan {self.plan.path.stem} (else {settings})"

    def _multiplied(self) -> str:
        bits = self.unpacking.bits
        width = f"{bits.a}" if bits.a == bits.b else f"{bits.a} × {bits.b}"
        block = self.unpacking.block
        strategy = str(self.unpacking.strategy) + (f" of {block} columns" if block else "")
        digits = self.unpacking.digits
        return "".join(
            [
                f", {self._backend_name()}{width} bits",
                f", {strategy}" if strategy != "mix" else "",
                f", {digits} digits" if digits != "balanced" else "",
            ]
        )

    def _backend_name(self) -> str:
        if self.backend is None:
            return ""
        return f"{StrategyChoice(self.backend.name, self.backend.options)} at "

    def to_record(self) -> dict[str, Any]:
        """Return what tells this treatment from others, as JSON types."""
        if self.method == "float":
            return {"method": "float"}
        percentile = self.rounding.map(lambda rounding: rounding.percentile).to_record()
        record: dict[str, Any] = {"method": self.method, "percentile": percentile}
        if self.method == "integers":
            record["beta"] = self.rounding.map(lambda rounding: rounding.beta).to_record()
            record["granularity"] = self.rounding.weights.granularity
            record["zero_alpha"] = self.rounding.weights.zero_alpha
            if self.prepared:
                record["prepared"] = True
            if self.invariant:
                record["invariant"] = True
            if self.plan is not None:
                record["plan"] = {"name": self.plan.path.name, "sha256": self.plan.hash}
        selection = {"gemms": self.selection.gemms, "skip": self.selection.skip}
        record |= {key: list(value) for key, value in selection.items()}
        record["ops"] = list(self.selection.ops)
        if self.unpacks:
            unpacking = self.unpacking
            record |= {
                "backend": None if self.backend is None else self.backend.to_record(),
                "bits": unpacking.bits.to_record(),
                "strategy": str(unpacking.strategy),
                "digits": unpacking.digits,
                "block": unpacking.block,
                "check": self.check,
            }
        return record

    def context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return the context in which a model's GEMMs are treated so.

        Raises
        ------
        InputError
            If a name is unknown or the backend does not run here.
        """
        if self.method == "float":
            return nullcontext()
        if self.method == "clip":
            percentile = self.rounding.map(lambda rounding: rounding.percentile)
            return ClippedGemms(model, percentile, self.selection)
        if self.prepared:
            return PreparedGemms(model, self._config(), self.selection)
        return self.integers(model)

    def _config(self) -> IntegerConfig:
        """Return the settings of a model that is converted."""
        rounding = self.rounding.weights
        return IntegerConfig(
            _mapping(self.rounding.map(lambda rounding: rounding.beta)),
            _mapping(self.rounding.map(lambda rounding: rounding.percentile)),
            granularity=rounding.granularity,
            bits=self.unpacking.bits,
            digits=self.unpacking.digits,
            zero_alpha=rounding.zero_alpha,
            backend=None if self.backend is None else self.backend.name,
            strategy=None if self.backend is None else self.unpacking.strategy.name,
            tied="integer",
            plan=self.plan,
        )

    def integers(self, model: nn.Module) -> IntegerGemms:
        """Return the context of integer GEMMs; see `accelsim.integer_gemms`."""
        return integer_gemms(
            model,
            _mapping(self.rounding.map(lambda rounding: rounding.beta)),
            _mapping(self.rounding.map(lambda rounding: rounding.percentile)),
            granularity=self.rounding.weights.granularity,
            zero_alpha=self.rounding.weights.zero_alpha,
            plan=self.plan,
            **self._multiplication(),
            gemms=self.selection.gemms,
            skip=self.selection.skip,
            ops=self.selection.ops,
            invariant=self.invariant,
        )

    def weights(self, layer: str) -> Rounding | None:
        """Return how the weight of a linear layer is rounded.

        Parameters
        ----------
        layer : str
            The name of its module.
        """
        if self.plan is None:
            return self.rounding.weights
        base: PerKind[Mapping[str, Any]] = self.rounding.map(asdict)
        return self.plan.rounding(place(layer, "linear"), "forward", base).weights

    def _multiplication(self) -> dict[str, Any]:
        if not self.unpacks:
            return {}
        return {
            "backend": None if self.backend is None else self.backend.load(),
            "bits": self.unpacking.bits,
            "strategy": self.unpacking.strategy,
            "digits": self.unpacking.digits,
            "block": self.unpacking.block,
            "check": self.check,
        }


def _mapping(values: PerKind[float]) -> Mapping[str, float]:
    return {kind: values.of(kind) for kind in KINDS}


def _spelled(values: PerKind[float]) -> str:
    record = values.to_record()
    if not isinstance(record, dict):
        return f"{record:g}"
    return ", ".join(f"{value:g} ({kind})" for kind, value in record.items())


class TreatmentSweep(ModelQuantizeSection, UnpackSection):
    """Treatments as a config writes them: the keys of ``quantize`` and ``unpack``, and which GEMMs.

    Each combination is one treatment. What `backend` names is checked apart.
    """

    method: Method = Field(default="integers", description="float, integers or clip")
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
        """Return a key that does not go with ``prepared`` or ``invariant``, and why, if any."""
        if self.prepared and (found := self._unfit_for_prepared()) is not None:
            return found[0], f"{found[1]} (prepared: true)"
        if self.invariant and self.method != "integers":
            return "method", "expected integers (invariant: true)"
        if self.invariant and self.granularity != ("row",):
            return "granularity", "expected row, since others span the batch (invariant: true)"
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


def in_folder(unpacking: Unpacking, folder: Path) -> Unpacking:
    """Make the path of a strategy in a file relative to the current folder instead of `folder`."""
    strategy = unpacking.strategy
    return replace(unpacking, strategy=replace(strategy, name=target(strategy.name, folder)))
