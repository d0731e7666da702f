"""The place in the model of an operator's GEMM, decided when it runs."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.tracing.lineage import Lineage, Origin
from workloads.tracing.modules import RunningModules, checkpointing
from workloads.tracing.multiplication import GemmOperands
from workloads.tracing.sites import GRADIENTS, Gradient, Site, Sites

_GRADIENT_PHASE = {"a": "grad_input", "b": "grad_weight"}

_SECOND_FIRST = ("MmBackward0", "BmmBackward0")
"""Autograd nodes that compute the gradient of their second operand first."""


class GemmCall(NamedTuple):
    """One GEMM that the model is about to run, in the form ``C = A @ B.T``.

    Parameters
    ----------
    site : Site
        The product of the forward pass that it is, or whose gradient it computes.
    phase : str
        ``forward``, ``grad_input`` (of A) or ``grad_weight`` (of B).
    a, b : Tensor
        Its operands, views of the model's own tensors where that is possible.
    name : str
        A name that is unique in the model's run.
    flipped : bool
        Whether the model's operator computes C.T: A is its second operand.
    again : bool
        Whether it is a product of the forward pass that gradient checkpointing runs again.
    """

    site: Site
    phase: str
    a: Tensor
    b: Tensor
    name: str
    flipped: bool = False
    again: bool = False


class Placing:
    """Gives every product its place in the model: its site, its phase and its name.

    A product with a weight is ``linear``, one with the result of a softmax ``pv``, any other one
    inside of a module ``qk``, and outside of all modules ``linear``.

    Parameters
    ----------
    lineage : Lineage
        What tensors descend from.
    running : RunningModules
        Where the model is.

    Attributes
    ----------
    recomputed : int
        GEMMs of the forward pass that ran again in the backward pass.
    """

    def __init__(self, lineage: Lineage, running: RunningModules) -> None:
        self.sites = Sites()
        self.recomputed = 0
        self._lineage, self._running = lineage, running
        self._lock = threading.RLock()

    def call(self, product: GemmOperands) -> GemmCall | str:
        """Return the place of a product, or why it is unknown."""
        with self._lock:
            node = torch._C._current_autograd_node()
            if node is None:
                return self._forward(product)
            if product.gradient_of is None and self._runs_again(node):
                return self._again(product)
            found = self._backward(product, node._sequence_nr(), node.name())
            if isinstance(found, GemmCall) and torch.is_grad_enabled():
                site = found.site
                nodes = self._running.nodes
                self.sites.derive(
                    site.layer, site.op, found.name, found.a, found.b, nodes, found.flipped
                )
            return found

    def linear(self, layer: str, a: Tensor, b: Tensor) -> GemmCall:
        """Return the place of a linear layer's forward product."""
        with self._lock:
            return self._placed(layer, "linear", a, b, False)

    def of_weights(self, product: GemmOperands) -> bool:
        """Whether a product is one of weights alone, and so a weight, as in ``W + B @ A``.

        A linear layer's is not, whose input may happen to be a parameter.
        """
        if self._running.linear:
            return False
        return all(self._lineage.of(x).weight for x in (product.a, product.b))

    def finished(self, out: Any) -> None:
        """Know the result of a product of weights as a weight."""
        if isinstance(out, Tensor) and not self._lineage.of(out).lasting:
            self._lineage.mark(out, Origin(weight=True, product=True))

    def _runs_again(self, node: Any) -> bool:
        """Whether the forward pass is run inside the backward pass.

        With ``create_graph`` the gradient of the backward pass is enabled too, where a node that is
        not a Python function multiplies by itself, unless checkpointing is at work.
        """
        if self._running.again or not torch.is_grad_enabled():
            return self._running.again
        return isinstance(node, torch.autograd.function.BackwardCFunction) or checkpointing()

    def _place(self, product: GemmOperands) -> tuple[str, bool]:
        """Return the op of a forward product, and whether its second operand is A."""
        if product.op is not None:
            return product.op, False
        a, b = self._lineage.of(product.a), self._lineage.of(product.b)
        # What weights alone were multiplied to is a weight of a layer, but none of attention,
        # whose queries may be made of parameters.
        heads = product.a.ndim == 3 and product.a.shape[0] > 1
        weight_a, weight_b = (x.weight and not (heads and x.product) for x in (a, b))
        if weight_a or weight_b:
            return "linear", weight_a and not weight_b
        if a.probabilities or b.probabilities:
            return "pv", b.probabilities and not a.probabilities
        return "qk" if self._running.inside else "linear", False

    def _forward(self, product: GemmOperands) -> GemmCall:
        op, flip = self._place(product)
        a, b = _operands(product, op, flip)
        return self._placed(self._running.innermost, op, a, b, flip)

    def _placed(self, layer: str, op: str, a: Tensor, b: Tensor, flip: bool) -> GemmCall:
        if self._running.without_nodes:
            site = self.sites.add_without_nodes(layer, op, a, b, flip)
        else:
            site = self.sites.add(layer, op, a, b, self._running.nodes, flip)
        return GemmCall(site, "forward", a, b, site.name, flip)

    def _again(self, product: GemmOperands) -> GemmCall | str:
        op, flip = self._place(product)
        a, b = _operands(product, op, flip)
        site = self.sites.recompute(self._running.innermost, op, a, b, self._running.nodes)
        self.recomputed += 1
        if site is None:
            return "a product that the forward pass did not run inside the context"
        return GemmCall(site, "forward", a, b, site.name, flip, again=True)

    def _backward(self, product: GemmOperands, node: int, name: str) -> GemmCall | str:
        found = self._gradient(product, self.sites.of_node(node), name)
        if found is None:
            return f"{name}: a gradient of something that did not run inside the context"
        site, (of, flip) = found
        a, b = _operands(product, site.op, flip)
        base = f"{site.name}.{GRADIENTS[site.op, of]}"
        site.count_gradient(of)
        return GemmCall(site, _GRADIENT_PHASE[of], a, b, self.sites.unique(base), flip)

    def _gradient(
        self, product: GemmOperands, sites: list[Site], name: str
    ) -> tuple[Site, Gradient] | None:
        """Return which gradient of which site of an autograd node a product is.

        What is known best goes first: what the operator says; the shape, confirmed by an operand;
        the shape; an operand alone, as with per-sample gradients, where the shape is another. The
        rest, such as gradients of a convolution's gradients, is put to the node's first site.
        """
        if product.gradient_of is not None:
            same = [site for site in sites if site.op == product.op]
            return (same[0], Gradient(product.gradient_of, False)) if same else None
        by_shape = []
        for site in sites:
            a, b = _operands(product, site.op, flip=False)
            first = "a" if (name in _SECOND_FIRST) == site.flipped else "b"
            fit = site.gradient_by_shape(a, b, first)
            if fit is not None and fit[1]:
                return site, fit[0]
            if fit is not None:
                by_shape.append((site, fit[0]))
        if by_shape:
            return by_shape[0]
        for site in sites:
            by_operand = site.gradient_by_operand(product.a, product.b)
            if by_operand is not None:
                return site, by_operand
        return (sites[0], Gradient("a", False)) if sites else None


def _operands(product: GemmOperands, op: str, flip: bool) -> tuple[Tensor, Tensor]:
    a, b = (product.b, product.a) if flip else (product.a, product.b)
    if op == "linear" and a.ndim == 3 and a.shape[0] == 1:
        return a[0], b[0]
    return a, b
