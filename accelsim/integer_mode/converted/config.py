"""The settings of a model that is converted to integers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.granularity import GRANULARITIES
from accelsim.config.plans import Plan, load_plan, plan_from
from accelsim.errors import InputError, unknown_name
from accelsim.integer_mode.kinds import by_kind
from accelsim.settings import KINDS, OTHERS, PerKind
from accelsim.types import PerOperand, Rounding

TIED = ("float", "integer")
ZERO_ALPHA = ("nonzero", "error")

METHOD = "accelsim"
"""The name of this way to quantize among those of Hugging Face."""


@dataclass(frozen=True)
class IntegerConfig:
    """How `accelsim.quantize_` converts a model; what `accelsim.integer_gemms` has is the same.

    Parameters
    ----------
    beta, percentile : float or mapping
        How finely operands are rounded: `percentile` of the magnitudes becomes ``beta / 2``. One
        number, or by kind: ``weights``, ``activations``, ``attention`` and ``gradients``, and
        ``default`` for the rest. Products of attention are left in floats. A `plan` may give every
        β that is needed; a kind whose β is None has none, and a product that needs it is an error.
    granularity : {"tensor", "row"}
        One scale for a tensor, or one for each token and each output channel.
    bits : int or PerOperand of int
        Width of the digits, 2 to 16. Weights are kept in digits of 8 bits, and in packed ones of 4
        where their digits have up to 4.
    digits : {"balanced", "paper"}
        The digit system of a backend's products.
    zero_alpha : {"nonzero", "error"}
        What to do where more than `percentile` of an operand is zeros.
    backend : str or None
        The name of what multiplies; None for the fused route of a backend on a GPU that has one,
        and otherwise for floats that are proved to be exact. The integers are the same.
    strategy : str or None
        How operands are unpacked for a backend; None for ``mix``.
    training : bool
        Keep float weights, and round them in every step, forward and backward.
    tied : {"float", "integer"}
        What becomes of a linear layer whose weight also belongs to a module that stays in floats,
        such as an output layer that shares the embedding's: by default it stays in floats, too;
        ``integer`` gives it integers of its own.
    skip : sequence of str
        Globs of the names of modules that stay in floats, such as ``lm_head``.
    plan : str, Path, Plan, mapping or None
        A plan, its file or its values; what it says of a layer goes before the other settings. A
        layer is rounded alike in all phases, its operands with one granularity.

    Raises
    ------
    InputError
        If a value is not one of these.

    Examples
    --------
    >>> from accelsim import IntegerConfig
    >>> config = IntegerConfig(beta={"weights": 127, "default": 63}, granularity="row")
    >>> config.tied
    'float'
    """

    beta: float | Mapping[str, float | None] | None = None
    percentile: float | Mapping[str, float] = 95
    granularity: str = "tensor"
    bits: int | PerOperand[int] = 8
    digits: str = "balanced"
    zero_alpha: str = "nonzero"
    backend: str | None = None
    strategy: str | None = None
    training: bool = False
    tied: str = "float"
    skip: Sequence[str] = ()
    plan: Any = None

    quant_method: ClassVar[str] = METHOD

    def __post_init__(self) -> None:
        for name, allowed in (
            ("granularity", tuple(GRANULARITIES)),
            ("zero_alpha", ZERO_ALPHA),
            ("tied", TIED),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: {unknown_name('value', getattr(self, name), allowed)}")
        if self.backend is None and self.strategy is not None:
            raise InputError(f"strategy {self.strategy!r}: name a backend for its products")
        if isinstance(self.skip, str):
            raise InputError(f"skip: found the text {self.skip!r}; expected a list of globs")
        object.__setattr__(self, "skip", tuple(self.skip))
        object.__setattr__(self, "plan", _plan(self.plan))
        if self.beta is None and self.plan is None:
            raise InputError("beta: it is missing; expected a number, numbers by kind, or a plan")
        self.given  # noqa: B018
        self.systems  # noqa: B018

    @functools.cached_property
    def given(self) -> PerKind[dict[str, Any]]:
        """The arguments of `Rounding` for each kind; β is missing where none was given."""
        percentiles = by_kind(self.percentile, "percentile", at_most=100)
        betas: PerKind[float | None] = PerKind.all(None)
        if self.beta is not None:
            named = self.beta if isinstance(self.beta, Mapping) else {OTHERS: self.beta}
            by_kind({kind: 1.0 if beta is None else beta for kind, beta in named.items()}, "beta")
            betas = PerKind.spread(named)
        return PerKind(
            *(
                {
                    "percentile": percentiles.of(kind),
                    "granularity": self.granularity,
                    "zero_alpha": self.zero_alpha,
                    **({} if betas.of(kind) is None else {"beta": betas.of(kind)}),
                }
                for kind in KINDS
            )
        )

    def rounding(self, kind: str) -> Rounding:
        """Return how operands of a kind are rounded.

        Parameters
        ----------
        kind : str
            One of `accelsim.settings.KINDS`.

        Raises
        ------
        InputError
            If there is no β for them.
        """
        given = self.given.of(kind)
        if "beta" not in given:
            raise InputError(f"there is no beta for {kind}")
        return Rounding(**given)

    @property
    def widths(self) -> PerOperand[int]:
        """The bits of the digits of activations and of weights."""
        return self.bits if isinstance(self.bits, PerOperand) else PerOperand.both(self.bits)

    @property
    def systems(self) -> PerOperand[DigitSystem]:
        """The digits of activations and of weights."""
        return self.widths.map(lambda width: DigitSystem(self.digits, width))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON types, with what Hugging Face calls the method."""
        record = {field.name: getattr(self, field.name) for field in fields(IntegerConfig)}
        for name in ("beta", "percentile"):
            if isinstance(record[name], Mapping):
                record[name] = dict(record[name])
        record |= {"bits": self.widths.to_record(), "skip": list(self.skip)}
        record["plan"] = None if self.plan is None else self.plan.to_dict()
        return {"quant_method": METHOD, **record}

    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **others: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Return the settings that `to_dict` gave.

        Parameters
        ----------
        config_dict : mapping
            The settings; all but ``beta`` or ``plan`` may be missing.
        return_unused_kwargs : bool
            Whether to return `others` as well, as Hugging Face asks for.
        **others
            What is no setting; not used.

        Raises
        ------
        InputError
            If a name is unknown, or a value is wrong.
        """
        settings = {name: value for name, value in config_dict.items() if name != "quant_method"}
        known = [field.name for field in fields(IntegerConfig)]
        for name in settings:
            if name not in known:
                raise InputError(unknown_name("setting", name, known))
        if isinstance(settings.get("bits"), Mapping):
            settings["bits"] = PerOperand(**settings["bits"])
        config = cls(**settings)
        return (config, others) if return_unused_kwargs else config

    def to_json(self) -> str:
        """Return the settings in one line, the same for equal settings."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the settings as the text of a file.

        Parameters
        ----------
        use_diff : bool
            Hugging Face passes it; all settings are written in either case.
        """
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def __repr__(self) -> str:
        """Show every setting, the default ones included."""
        shown = (f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"{type(self).__name__}({', '.join(list(shown)[1:])})"


@functools.lru_cache(maxsize=256)
def parsed(settings: str) -> IntegerConfig:
    """Return the settings that `IntegerConfig.to_json` wrote."""
    found = IntegerConfig.from_dict(json.loads(settings))
    assert isinstance(found, IntegerConfig), "a pair was not asked for"
    return found


def _plan(given: Any) -> Plan | None:
    if isinstance(given, str | Path):
        return load_plan(given)
    if isinstance(given, Mapping):
        return plan_from(dict(given))
    if given is None or isinstance(given, Plan):
        return given
    raise InputError(f"plan: found {type(given).__name__}; expected a plan, its file or its values")
