"""Treatments of a model's GEMMs: floating point, integers, or clipping."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from accelsim.config import BackendChoice
from accelsim.config.plans import Plan
from accelsim.integer_mode import IntegerGemms, Selection, integer_gemms
from accelsim.integer_mode.converted import IntegerConfig, PreparedGemms
from accelsim.parity.clipping import ClippedGemms
from accelsim.parity.groups import GroupedGemms
from accelsim.parity.torchao import TorchaoLayers
from accelsim.settings import KINDS, PerKind, Unpacking
from accelsim.types import FUSED, Rounding, StrategyChoice
from workloads.gemm import OPS
from workloads.tracing import place

Method: TypeAlias = Literal["float", "bf16", "integers", "clip", "absmax", "torchao"]

NOTHING_REPLACED = "no GEMM was computed in integers"
"""Why a treatment that left everything in floating point has no result."""


@dataclass(frozen=True)
class Treatment:
    """One way to compute a model's GEMMs.

    Parameters
    ----------
    method : {"float", "bf16", "integers", "clip", "absmax", "torchao"}
        As they are; under autocast in bfloat16; through integers without clipping; with clipped
        operands, not rounded; in integers of b bits of which the largest magnitude is the largest;
        or as torchao does it.
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
    group : int or None
        Of ``absmax``: columns of K with a scale of their own; None for scales as `rounding` says.
    scheme : str or None
        Of ``torchao``: one of `accelsim.parity.torchao.SCHEMES`.
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
    group: int | None = None
    scheme: str | None = None

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
        if self.method in ("float", "bf16"):
            return self.method
        where = self._where()
        if self.method == "torchao":
            return f"torchao {self.scheme}{where}"
        if self.method == "absmax":
            scales = f"groups of {self.group}" if self.group else self._per
            return f"absmax int{self.unpacking.bits.a}, {scales}{where}"
        percentile = _spelled(self.rounding.map(lambda rounding: rounding.percentile))
        if self.method == "clip":
            return f"clip at p = {percentile}, no rounding{where}"
        beta = _spelled(self.rounding.map(lambda rounding: rounding.beta))
        scales = ", scales per row" if self.rounding.weights.granularity == "row" else ""
        settings = f"p = {percentile}, β = {beta}{scales}{where}"
        return settings if self.plan is None else f"plan {self.plan.path.stem} (else {settings})"

    @property
    def _per(self) -> str:
        return f"scales per {self.rounding.weights.granularity}"

    def _where(self) -> str:
        gemms, skip, ops = self.selection.gemms, self.selection.skip, self.selection.ops
        return "".join(
            [
                "" if tuple(gemms) == ("*",) else f", {', '.join(gemms)} only",
                f", without {', '.join(skip)}" if skip else "",
                "" if len(ops) == len(OPS) else f", {', '.join(ops)} only",
                self._multiplied() if self.unpacks else "",
                ", prepared" if self.prepared else "",
                ", invariant" if self.invariant else "",
            ]
        )

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
        if self.method in ("float", "bf16"):
            return {"method": self.method}
        record: dict[str, Any] = {"method": self.method}
        if self.method == "torchao":
            record["scheme"] = self.scheme
        elif self.method == "absmax":
            record["bits"] = self.unpacking.bits.a
            record["granularity"] = "group" if self.group else self.rounding.weights.granularity
            record["group"] = self.group
        else:
            percentile = self.rounding.map(lambda rounding: rounding.percentile).to_record()
            record["percentile"] = percentile
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
        if self.method == "bf16":
            return torch.autocast(next(model.parameters()).device.type, torch.bfloat16)
        if self.method == "clip":
            percentile = self.rounding.map(lambda rounding: rounding.percentile)
            return ClippedGemms(model, percentile, self.selection)
        if self.method == "torchao":
            assert self.scheme is not None, "torchao comes with a scheme"
            return TorchaoLayers(model, self.scheme, self.selection)
        if self.group is not None:
            return GroupedGemms(model, self.group, self.unpacking.bits.a, self.selection)
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

    def integers(self, model: nn.Module, check: bool = False) -> IntegerGemms:
        """Return the context of integer GEMMs; see `accelsim.integer_gemms`.

        Parameters
        ----------
        model : nn.Module
            Whose.
        check : bool
            Compare every integer with the oracle's, whatever the treatment says.
        """
        return integer_gemms(
            model,
            _mapping(self.rounding.map(lambda rounding: rounding.beta)),
            _mapping(self.rounding.map(lambda rounding: rounding.percentile)),
            granularity=self.rounding.weights.granularity,
            zero_alpha=self.rounding.weights.zero_alpha,
            plan=self.plan,
            **{**self._multiplication(), **({"check": True} if check else {})},
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

    def weight_bits(self, layer: str) -> int:
        """Return the width of the digits of a linear layer's weight.

        Parameters
        ----------
        layer : str
            The name of its module.
        """
        bits = self.unpacking.bits
        if self.plan is not None:
            bits = self.plan.unpacking(place(layer, "linear"), "forward").get("bits", bits)
        return bits.b

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
