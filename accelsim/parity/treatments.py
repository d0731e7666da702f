"""What is done with a model's GEMMs: left in floating point, in integers, or clipped."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field
from torch import nn

from accelsim.config import fields
from accelsim.config.fields import Section, Sweep, plain_number
from accelsim.integer_mode import IntegerGemms, Selection, integer_gemms
from accelsim.parity.clipping import ClippedGemms
from workloads.gemm import OPS

Percentile: TypeAlias = Annotated[float, Field(gt=0, le=100), AfterValidator(plain_number)]
Positive: TypeAlias = Annotated[float, Field(gt=0), AfterValidator(plain_number)]
Beta: TypeAlias = (
    Positive
    | dict[Literal["weights", "activations", "attention", "gradients", "default"], Positive]
)

_GLOBS = "a list of globs of GEMMs' names"


class Treatment(Section):
    """One way to compute a model's GEMMs.

    Parameters
    ----------
    method : {"float", "integers", "clip"}
        As they are; through integers without clipping; or with clipped operands, not rounded.
    percentile, beta : float
        Of the quantization, or where to clip.
    gemms, skip, ops : sequence of str
        Which GEMMs; see `accelsim.integer_mode.Selection`.
    backend, bits, strategy, digits, check
        Where the integers are multiplied; without a backend they are simulated. See
        `accelsim.integer_gemms`.
    """

    method: Literal["float", "integers", "clip"] = Field(
        default="integers", description="float, integers or clip"
    )
    percentile: Percentile = 95
    beta: Beta = 255
    gemms: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    ops: tuple[str, ...] = OPS
    backend: str | None = None
    bits: int = 8
    strategy: str = "mix"
    digits: Literal["balanced", "paper"] = "balanced"
    check: bool = False

    @property
    def selection(self) -> Selection:
        """Which GEMMs are treated."""
        return Selection(self.gemms, self.skip, self.ops)

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        where = "".join(
            [
                "" if self.gemms == ("*",) else f", {', '.join(self.gemms)} only",
                f", without {', '.join(self.skip)}" if self.skip else "",
                "" if len(self.ops) == len(OPS) else f", {', '.join(self.ops)} only",
                f", {self.backend} at {self.bits} bits" if self.backend else "",
            ]
        )
        if self.method == "float":
            return "float"
        if self.method == "clip":
            return f"clip at p = {self.percentile:g}, no rounding{where}"
        beta = f"{self.beta:g}" if not isinstance(self.beta, dict) else _spelled(self.beta)
        return f"p = {self.percentile:g}, β = {beta}{where}"

    def to_record(self) -> dict[str, Any]:
        """Return what tells this treatment from others, as JSON types."""
        if self.method == "float":
            return {"method": "float"}
        unused = {"clip": {"beta", "backend", "bits", "strategy", "digits", "check"}}
        simulated = set() if self.backend else {"backend", "bits", "strategy", "digits", "check"}
        fields = Treatment.model_fields.keys() - unused.get(self.method, simulated)
        values = {name: getattr(self, name) for name in Treatment.model_fields if name in fields}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

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
            return ClippedGemms(model, self.percentile, self.selection)
        return self.integers(model)

    def integers(self, model: nn.Module, **changes: Any) -> IntegerGemms:
        """Return the context of integer GEMMs, with some options changed."""
        options: dict[str, Any] = {
            "exact": "backend" if self.backend else "simulate",
            "backend": self.backend,
            "bits": self.bits,
            "strategy": self.strategy,
            "digits": self.digits,
            "check": self.check,
            "gemms": self.gemms,
            "skip": self.skip,
            "ops": self.ops,
        }
        return integer_gemms(model, self.beta, self.percentile, **{**options, **changes})  # type: ignore[arg-type]


def _spelled(beta: dict[Any, float]) -> str:
    return ", ".join(f"{value:g} ({kind})" for kind, value in beta.items())


class TreatmentSweep(Section):
    """Treatments as a config writes them: a list of β or of percentiles is one treatment each."""

    method: Literal["float", "integers", "clip"] = Field(
        default="integers", description="float, integers or clip"
    )
    percentile: Sweep[Percentile] = Field(
        default=(95,), description="a number above 0 and at most 100, or a list of these"
    )
    beta: Sweep[Beta] = Field(
        default=(255,),
        description="a number above 0, a mapping from kinds of operands, or a list of these",
    )
    gemms: Sweep[str] = Field(default=("*",), description=_GLOBS)
    skip: fields.Selection[str] = Field(default=(), description=_GLOBS)
    ops: Sweep[Literal["linear", "qk", "pv"]] = Field(
        default=("linear", "qk", "pv"), description="a list of linear, qk and pv"
    )
    backend: str | None = Field(default=None, description="the name of a backend")
    bits: int = Field(default=8, ge=2, le=16, description="a whole number from 2 to 16")
    strategy: str = Field(default="mix", description="the name of a strategy")
    digits: Literal["balanced", "paper"] = Field(
        default="balanced", description="balanced or paper"
    )
    check: bool = Field(default=False, description="true or false")

    def treatments(self) -> list[Treatment]:
        """Return every combination; β varies fastest."""
        own = {name: getattr(self, name) for name in Treatment.model_fields}
        return [
            Treatment(**{**own, "percentile": percentile, "beta": beta})
            for percentile in self.percentile
            for beta in (self.beta if self.method == "integers" else self.beta[:1])
        ]
