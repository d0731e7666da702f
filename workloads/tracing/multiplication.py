"""The GEMMs that an ATen operator computes, each in the form ``C = A @ B.T``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Product:
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
    products : iterable of Product
        In the order in which they are computed. Those of fused attention are made one at a time,
        so that only one is in memory.
    finish : callable, optional
        Makes the operator's result of the products' results ``C``, in the types of the operator.
        None for fused attention, whose products depend on each other: who wants to replace these
        runs attention unfused (``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``).
    """

    products: Iterable[Product]
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
    found = _rule_of(func)
    if found is None:
        return None
    names = [argument.name for argument in func._schema.arguments]
    bound = {**dict(zip(names, args, strict=False)), **kwargs}
    why = unusual(bound)
    if why is not None:
        return why
    out = bound.pop("out", None)
    if func._schema.name.endswith("_"):
        out = bound["self"]
    result = found(**bound)
    if out is None or isinstance(result, str) or result.finish is None:
        return result
    finish = result.finish
    return Multiplication(result.products, lambda products: out.copy_(finish(products)))


_RULE_OF: dict[int, tuple[Any, Rule | None]] = {}


def multiplies(func: Any) -> bool:
    """Whether an operator is known to compute GEMMs."""
    return _rule_of(func) is not None


def _rule_of(func: Any) -> Rule | None:
    """Return an operator's rule; known by identity, since operators hash in Python."""
    known = _RULE_OF.get(id(func))
    if known is None:
        known = _RULE_OF[id(func)] = func, RULES.get(getattr(func, "overloadpacket", None))
    return known[1]


def unusual(values: Any) -> str | None:
    """Return why a tensor among an operator's arguments cannot be an operand, if so."""
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            if value.is_nested:
                return "an operand is nested"
            if value.layout != torch.strided:
                return f"an operand is {str(value.layout).removeprefix('torch.').removeprefix('_')}"
            if value.is_quantized:
                return "an operand is quantized"
    return None


def one(product: Product, finish: Callable[[Tensor], Any] = lambda c: c) -> Multiplication:
    """Return an operator's work where it is a single GEMM."""
    return Multiplication([product], lambda products: finish(products[0]))
