"""The GEMMs that an ATen operator computes, each in the form ``C = A @ B.T``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class GemmOperands:
    """One GEMM of an operator.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]``, or ``[batch, n, d]`` and ``[batch, h, d]``: views of the
        operator's arguments where that is possible.
    op : str, optional
        ``linear``, ``qk`` or ``pv`` where the operator tells; otherwise the model does.
    gradient_of : str, optional
        ``a`` or ``b`` where the operator computes the gradient of that operand; otherwise the
        autograd graph tells.
    """

    a: Tensor
    b: Tensor
    op: str | None = None
    gradient_of: str | None = None


@dataclass(frozen=True)
class Multiplication:
    """The work of an operator: some GEMMs, and cheap steps that turn their results into its own.

    Parameters
    ----------
    products : iterable of GemmOperands
        In the order in which they are computed. Those of fused attention are made one at a time,
        so that only one is in memory.
    finish : callable, optional
        Makes the operator's result of the products' results ``C``, in the types of the operator.
        None for fused attention, whose products depend on each other: who wants to replace these
        runs attention unfused (``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``).
    """

    products: Iterable[GemmOperands]
    finish: Callable[[Sequence[Tensor]], Any] | None = None


Rule: TypeAlias = Callable[..., "Multiplication | str"]
"""Takes an operator's arguments by name; returns its GEMMs, or why they cannot be told."""

RULES: dict[Any, Rule] = {}
"""A rule for each operator (all of its overloads) that multiplies matrices."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of the ATen operators of these names, those that this torch has."""

    def register(function: Rule) -> Rule:
        for name in names:
            if hasattr(torch.ops.aten, name):
                RULES[getattr(torch.ops.aten, name)] = function
        return function

    return register


def recognize(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> Multiplication | str | None:
    """Return the GEMMs that a call of an ATen operator computes.

    Parameters
    ----------
    func : OpOverload
        The operator, as ``__torch_dispatch__`` gets it.
    args, kwargs
        Its arguments.

    Returns
    -------
    Multiplication, str or None
        None if the operator multiplies no matrices; a text that says why, if it does but its GEMMs
        cannot be told.
    """
    known = _known(func)
    if known.rule is None:
        return None
    bound = {**dict(zip(known.arguments, args, strict=False)), **kwargs}
    why = unusual(bound.values())
    if why is not None:
        return why
    out = bound.pop("out", None)
    if known.in_place:
        out = bound["self"]
    result = known.rule(**bound)
    if out is None or isinstance(result, str) or result.finish is None:
        return result
    finish = result.finish
    return Multiplication(result.products, lambda products: out.copy_(finish(products)))


def multiplies(func: Any) -> bool:
    """Whether an operator is known to compute GEMMs."""
    return _known(func).rule is not None


@dataclass(frozen=True, slots=True)
class _Known:
    """An operator with its rule and the names of its arguments."""

    operator: Any
    rule: Rule | None
    arguments: tuple[str, ...]
    in_place: bool


_KNOWN: dict[int, _Known] = {}


def _known(func: Any) -> _Known:
    # By identity: operators hash in Python, which takes longer than all the rest.
    known = _KNOWN.get(id(func))
    if known is None:
        schema: Any = getattr(func, "_schema", None)
        rule = None if schema is None else RULES.get(func.overloadpacket)
        names = tuple(argument.name for argument in schema.arguments) if rule else ()
        known = _Known(func, rule, names, bool(rule) and schema.name.endswith("_"))
        _KNOWN[id(func)] = known
    return known


def unusual(values: Iterable[Any]) -> str | None:
    """Return why a tensor among an operator's arguments cannot be an operand, if so."""
    for value in values:
        if isinstance(value, Tensor):
            if value.is_nested:
                return "an operand is nested"
            if value.layout != torch.strided:
                return f"an operand is {str(value.layout).removeprefix('torch.').removeprefix('_')}"
            if value.is_quantized:
                return "an operand is quantized"
        elif isinstance(value, list | tuple | dict):
            why = unusual(tree_leaves(value))
            if why is not None:
                return why
    return None


def one(product: GemmOperands, finish: Callable[[Tensor], Any] = lambda c: c) -> Multiplication:
    """Return an operator's work where it is a single GEMM."""
    return Multiplication([product], lambda products: finish(products[0]))
