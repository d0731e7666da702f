"""What is asked of one GEMM: by the config, by a plan, and with the β for a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from accelsim.analysis.choosing import least_beta
from accelsim.config.planned_gemms import place_of
from accelsim.config.plans import Plan
from accelsim.errors import AccelsimError, InputError
from accelsim.settings import Automatic, PerKind, Unpacking
from accelsim.types import FUSED, SIDES, PerOperand, Rounding, StrategyChoice
from accelsim.unpack import strategy_class
from workloads import Gemm

SAMPLE = 1024
"""Rows of A and of B that are drawn of a GEMM of which only the shape is known."""

BLOCK = 32
"""Columns of a K-block where a plan names a strategy that cuts any, and the config has none."""


def rounding_of(gemm: Gemm, asked: PerOperand[Rounding] | Automatic) -> PerOperand[Rounding]:
    """Return how the operands of a GEMM are rounded; find β where that is asked.

    Parameters
    ----------
    gemm : Gemm
        Its operands are read where β has to be found.
    asked : PerOperand of Rounding, or Automatic
        What the config says.

    Raises
    ------
    InputError
        If no β reaches the tolerance; the message names the GEMM.
    """
    return _found(gemm, asked) if isinstance(asked, Automatic) else asked


@lru_cache(maxsize=4096)
def _found(gemm: Gemm, asked: Automatic) -> PerOperand[Rounding]:
    operands = gemm.load() if gemm.sketch is None else gemm.sketch.draw(PerOperand.both(SAMPLE))
    try:
        beta, _ = least_beta(*operands, asked.tolerance, asked.with_beta)
    except AccelsimError as error:
        raise InputError(f"{gemm.id}: {error}") from error
    return asked.with_beta(beta)


def kinds_of(gemm: Gemm) -> PerOperand[str]:
    """Return the kinds of the operands of a GEMM of a model, as a plan has them.

    Parameters
    ----------
    gemm : Gemm
        In a linear layer B is the weight, in its gradients A is the gradient.
    """
    if gemm.op != "linear":
        forward = PerOperand("attention", "attention")
    elif gemm.phase == "grad_weight":
        forward = PerOperand("gradients", "activations")
    else:
        forward = PerOperand("activations", "weights")
    return forward if gemm.phase == "forward" else PerOperand("gradients", forward.b)


def planned(
    gemm: Gemm, plan: Plan, rounding: PerOperand[Rounding], unpacking: Unpacking
) -> tuple[PerOperand[Rounding], Unpacking]:
    """Return the settings of a GEMM by a plan.

    Parameters
    ----------
    gemm : Gemm
        Which GEMM.
    plan : Plan
        What goes before the settings of the config.
    rounding, unpacking
        Those settings.
    """
    place, kinds = place_of(gemm), kinds_of(gemm)
    found = []
    for side in SIDES:
        base = PerKind[Mapping[str, Any]].all(asdict(rounding.of(side)))
        own = plan.rounding(place, gemm.phase, base).of(kinds.of(side))
        assert own is not None, "the config gives a β"
        found.append(own)
    changed = plan.unpacking(place, gemm.phase)
    unpacking = replace(unpacking, **changed)
    if "strategy" in changed and "block" not in changed:
        block = unpacking.block or BLOCK
        unpacking = replace(unpacking, block=block if _uses_block(unpacking.strategy) else None)
    return PerOperand(*found), unpacking


def _uses_block(choice: StrategyChoice) -> bool:
    if choice.name == FUSED:
        return False
    plugin = strategy_class(choice.name)
    return plugin is not None and plugin.uses_block
