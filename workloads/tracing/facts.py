"""What there is to know of an operator whenever it runs, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workloads.tracing.multiplication import multiplies
from workloads.tracing.operators import gathers, has_kernel, holds_no_gemm, is_softmax, may_write


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
        Whether its result is its argument's memory. Those that are made of others, such as ``to``,
        are seen whole below autograd, and may copy.
    is_softmax : bool
        Whether its result is probabilities.
    gathers : bool
        Whether it may take whole matrices out of its first argument.
    may_pass : bool
        Whether it needs to be seen only for what its arguments descend from.
    """

    operator: Any
    passes: bool
    writes: bool
    is_view: bool
    is_softmax: bool
    gathers: bool
    may_pass: bool


_FACTS: dict[int, Facts] = {}


def facts_of(func: Any) -> Facts:
    """Return what is known of an operator."""
    # By identity: operators hash in Python, which takes longer than all the rest.
    facts = _FACTS.get(id(func))
    if facts is None:
        passes, writes = holds_no_gemm(func) and not multiplies(func), may_write(func)
        facts = _FACTS[id(func)] = Facts(
            func,
            passes,
            writes,
            bool(func.is_view) and not _is_made_of_others(func),
            is_softmax(func),
            gathers(func),
            passes and not writes and not is_softmax(func) and _is_simple(func),
        )
    return facts


def _is_simple(func: Any) -> bool:
    """Whether an operator is no other ones, and takes all of its tensors by position."""
    made_of = _is_made_of_others(func)
    named = (x for x in func._schema.arguments if x.kwarg_only)
    return (
        func.namespace == "aten" and not made_of and not any("Tensor" in str(x.type) for x in named)
    )


def _is_made_of_others(func: Any) -> bool:
    return has_kernel(func, "CompositeImplicitAutograd")
