"""What there is to know of an operator whenever it runs, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workloads.tracing.multiplication import multiplies
from workloads.tracing.operators import holds_no_gemm, is_softmax, may_write


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides how an operator is handled.

    Parameters
    ----------
    operator : object
        The operator; it is kept, so that nothing else gets its identity.
    passes : bool
        Whether it holds no GEMM, so that it runs as it is.
    writes : bool
        Whether it may write to a tensor that it takes.
    is_view : bool
        Whether its result is its argument's memory.
    is_softmax : bool
        Whether its result is probabilities.
    """

    operator: Any
    passes: bool
    writes: bool
    is_view: bool
    is_softmax: bool


_FACTS: dict[int, Facts] = {}


def facts_of(func: Any) -> Facts:
    """Return what is known of an operator."""
    # By identity: operators hash in Python, which takes longer than all the rest.
    facts = _FACTS.get(id(func))
    if facts is None:
        facts = _FACTS[id(func)] = Facts(
            func,
            holds_no_gemm(func) and not multiplies(func),
            may_write(func),
            bool(func.is_view),
            is_softmax(func),
        )
    return facts
