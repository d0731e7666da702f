"""What an operand is in its model, and a setting for each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.errors import InputError, unknown_name
from accelsim.types import PerOperand
from workloads.tracing import GemmCall

KINDS = ("weights", "activations", "attention", "gradients")
"""Weights; inputs of linear layers; operands of both attention products; gradients."""

_OTHERS = "default"


@dataclass(frozen=True)
class PerKind:
    """One number for each kind of operand.

    Parameters
    ----------
    values : mapping
        Kind to number; every one of `KINDS`.
    """

    values: Mapping[str, float]

    @classmethod
    def of(
        cls, given: float | Mapping[Any, float], name: str, at_most: float = math.inf
    ) -> PerKind:
        """Spread what a caller gave over all kinds.

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
            given = {_OTHERS: given}
        for kind, value in given.items():
            if kind not in (*KINDS, _OTHERS):
                raise InputError(f"{name}: {unknown_name('kind', kind, (*KINDS, _OTHERS))}")
            if not 0 < value <= at_most:
                limit = "" if at_most == math.inf else f" and at most {at_most:g}"
                raise InputError(
                    f"{name} of {kind}: found {value}; expected a number above 0{limit}"
                )
        missing = [kind for kind in KINDS if kind not in given and _OTHERS not in given]
        if missing:
            raise InputError(f"{name}: nothing for {', '.join(missing)}, and no {_OTHERS!r}")
        return cls({kind: given.get(kind, given.get(_OTHERS, 0.0)) for kind in KINDS})

    def __getitem__(self, kind: str) -> float:
        return self.values[kind]


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
    A product of two activations counts as attention, unless no softmax can follow it.
    """
    others = "activations" if call.site.op == "linear" else "attention"
    found = weights.map(lambda weight: "weights" if weight else others)
    return found if call.phase == "forward" else PerOperand("gradients", found.b)
