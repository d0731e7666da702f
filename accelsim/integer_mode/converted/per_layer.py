"""The settings of each layer of a model that is converted by a plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from accelsim.config.plans import Plan
from accelsim.errors import InputError
from accelsim.integer_mode.converted.config import IntegerConfig
from accelsim.settings import KINDS, PerKind
from accelsim.types import Rounding
from workloads.gemm import PHASES, listed
from workloads.tracing import place

ATTENTION = "products of attention stay in floats"
"""Why what a plan says of them has no effect."""


def layer_config(config: IntegerConfig, layer: str) -> IntegerConfig:
    """Return the settings of one layer, without a plan: what the plan says of it is in them.

    Parameters
    ----------
    config : IntegerConfig
        Of the model.
    layer : str
        The name of its module.

    Raises
    ------
    InputError
        If the plan gives no β for its operands, or asks for what a converted layer cannot do.
    """
    plan: Plan | None = config.plan
    if plan is None:
        return config
    name = place(layer, "linear")
    where = f"{plan.path}: {name}"
    rounding = _rounding(config, plan, name, where)
    known = [how for how in vars(rounding).values() if how is not None]
    common: dict[str, Any] = {}
    for key in ("granularity", "zero_alpha"):
        found = list(dict.fromkeys(getattr(how, key) for how in known))
        if len(found) > 1:
            raise InputError(f"{where}: a converted layer has one {key}; found {', '.join(found)}")
        common[key] = found[0]
    return replace(
        config,
        plan=None,
        beta=_by_kind(rounding, lambda how: how.beta, None),
        percentile=_by_kind(rounding, lambda how: how.percentile, 100.0),
        **common,
        **_unpacking(config, plan, name, where),
    )


def _rounding(config: IntegerConfig, plan: Plan, name: str, where: str) -> PerKind[Rounding | None]:
    """Return how each kind of operand is rounded, in all phases alike."""
    base: PerKind[Mapping[str, Any]] = config.given.map(lambda given: given)
    by_phase = {phase: plan.rounding(name, phase, base) for phase in PHASES}
    forward = by_phase["forward"]
    for kind in ("weights", "activations"):
        if forward.of(kind) is None:
            raise InputError(f"{where}: the plan gives no beta for its {kind}")
    gradients = by_phase["grad_input"].gradients
    again = [("weights", forward.weights, by_phase["grad_input"].weights)]
    if config.training:
        again += [
            ("activations", forward.activations, by_phase["grad_weight"].activations),
            ("gradients", gradients, by_phase["grad_weight"].gradients),
        ]
        if gradients is None:
            raise InputError(f"{where}: the plan gives no beta for its gradients")
    elif by_phase["grad_input"].weights is None:  # of the forward phase alone
        again, gradients = [], None
    for kind, one, other in again:
        if one != other:
            raise InputError(
                f"{where}: a converted layer rounds its {kind} alike in all phases; the plan gives "
                f"{_shown(one)} in one and {_shown(other)} in another"
            )
    return PerKind(forward.weights, forward.activations, None, gradients)


def _unpacking(config: IntegerConfig, plan: Plan, name: str, where: str) -> dict[str, Any]:
    """Return what a layer takes of the plan's unpacking; all of it matters to a backend alone."""
    said = plan.unpacking(name, "forward")
    if any(plan.unpacking(name, phase) != said for phase in PHASES):
        raise InputError(f"{where}: a converted layer is unpacked alike in all phases")
    found: dict[str, Any] = {key: said[key] for key in ("bits", "digits") if key in said}
    if config.backend is None:
        return found
    if "block" in said:
        raise InputError(
            f"{where}: the plan gives block, and products of converted layers cut K as their "
            "strategy does by default; leave block or the backend out"
        )
    if "strategy" in said:
        if said["strategy"].options:
            raise InputError(
                f"{where}: found strategy {said['strategy']}; expected a name without options: "
                "those of converted layers have none"
            )
        found["strategy"] = said["strategy"].name
    return found


def _by_kind(rounding: PerKind[Rounding | None], value: Any, missing: Any) -> Mapping[str, Any]:
    found = {kind: rounding.of(kind) for kind in KINDS}
    return {kind: missing if how is None else value(how) for kind, how in found.items()}


def _shown(how: Rounding | None) -> str:
    return "none" if how is None else f"beta {how.beta:g} at percentile {how.percentile:g}"


def planned_attention(plan: Plan, linear: Collection[str]) -> tuple[str, ...]:
    """Return the globs of a plan that are about products of attention alone.

    Parameters
    ----------
    plan : Plan
        The plan.
    linear : collection of str
        The names of all its linear layers.

    Raises
    ------
    InputError
        If a glob matches neither a linear layer nor a product of attention.
    """
    layers = [place(name, "linear") for name in linear]
    # Which modules attend shows when they run; all of them have linear layers in them.
    parents = {name.rpartition(".")[0] for name in linear}
    products = [place(name, op) for name in sorted(parents) for op in ("qk", "pv")]
    attention = []
    for glob in plan.globs:
        if any(fnmatchcase(name, glob) for name in layers):
            continue
        if not any(fnmatchcase(name, glob) for name in products):
            raise InputError(
                f"{plan.path}: no linear layer matches {glob!r}; there are: {listed(layers)}"
            )
        attention.append(glob)
    return tuple(attention)
