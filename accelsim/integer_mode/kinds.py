"""The kind of an operand in its model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accelsim.errors import InputError
from accelsim.settings import OTHERS, PerKind
from accelsim.types import PerOperand
from workloads.tracing import GemmCall


def by_kind(
    given: float | Mapping[Any, float], name: str, at_most: float = math.inf
) -> PerKind[float]:
    """Spread what a caller gave over all kinds of operands.

    Parameters
    ----------
    given : float or mapping
        One number for all, or a mapping from kinds, and ``default`` for those not named.
    name : str
        What messages call it.
    at_most : float
        The largest value that is allowed.

    Raises
    ------
    InputError
        If a kind is unknown or has no value, or a value is not above 0 or too large.
    """
    if not isinstance(given, Mapping):
        given = {OTHERS: given}
    try:
        found = PerKind.spread(given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    for kind, value in given.items():
        if not 0 < value <= at_most:
            limit = "" if at_most == math.inf else f" and at most {at_most:g}"
            raise InputError(f"{name} of {kind}: found {value}; expected a number above 0{limit}")
    return found


def kinds(call: GemmCall, weights: PerOperand[bool]) -> PerOperand[str]:
    """Return the kinds of the operands of a GEMM.

    Parameters
    ----------
    call : GemmCall
        In the gradient of an operand, A is a gradient and B the other operand.
    weights : PerOperand of bool
        Which operands are made of weights alone.

    Notes
    -----
    A product of two activations inside of a module counts as attention.
    """
    others = "activations" if call.site.op == "linear" else "attention"
    found = weights.map(lambda weight: "weights" if weight else others)
    return found if call.phase == "forward" else PerOperand("gradients", found.b)
