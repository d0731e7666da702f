"""The site of a GEMM in a model: its module, its role there, and its gradients."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from workloads.tracing.lineage import Identity, identity

GRADIENTS = {
    ("linear", "a"): "dx",
    ("linear", "b"): "dw",
    ("qk", "a"): "dq",
    ("qk", "b"): "dk",
    ("pv", "a"): "dp",
    ("pv", "b"): "dv",
}
"""The suffix of a GEMM's name for the gradient of an operand."""


class Gradient(NamedTuple):
    """The gradient of a site that a product computes.

    Parameters
    ----------
    of : str
        ``a`` or ``b``: the operand whose gradient it is.
    flipped : bool
        Whether the gradient of C is the product's second operand: in ``dA = dC @ B`` and
        ``dB = dC.T @ A`` it is the first.
    """

    of: str
    flipped: bool


@dataclass(eq=False, slots=True)
class Site:
    """One product of the forward pass, or of a backward pass that is differentiated itself.

    Parameters
    ----------
    layer : str
        The innermost module around it, as ``named_modules`` calls it; empty outside of modules.
    op : str
        ``linear``, ``qk`` or ``pv``.
    name : str
        What it is called; no other GEMM of the run has this name.
    batch, n, d, h : int
        Its shape.
    flipped : bool
        Whether A and B are the operator's second and first operand, so that its result is C.T.
    """

    layer: str
    op: str
    name: str
    batch: int
    n: int
    d: int
    h: int
    flipped: bool = False
    _identities: dict[Identity, str] = field(default_factory=dict, repr=False)
    _kept: list[StorageWeakRef] = field(default_factory=list, repr=False)
    _gradients: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """The layer and, in attention, ``qk`` or ``pv``; the same whenever the layer runs again."""
        return place(self.layer, self.op)

    def count_gradient(self, of: str) -> int:
        """Return how many gradients of this operand came before, and count one more."""
        before = self._gradients.get(of, 0)
        self._gradients[of] = before + 1
        return before

    def remember(self, a: Tensor, b: Tensor) -> None:
        """Keep the identity of the operands, so that a gradient's GEMM can be told by them."""
        for side, tensor in (("a", a), ("b", b)):
            found = identity(tensor)
            if found is not None:
                key, reference = found
                # The same memory in both tells nothing.
                known = self._identities.get(key, side)
                self._identities[key] = side if known == side else ""
                self._kept.append(reference)

    def gradient_by_operand(self, a: Tensor, b: Tensor) -> Gradient | None:
        """Identify by its operands which gradient the product ``a @ b.T`` is, whatever its shape.

        dA multiplies with B, and dB with A.
        """
        for other, flipped in ((b, False), (a, True)):
            side = self._identity(other)
            if side:
                return Gradient("b" if side == "a" else "a", flipped)
        return None

    def gradient_by_shape(self, a: Tensor, b: Tensor, first: str) -> tuple[Gradient, bool] | None:
        """Identify by its shape which gradient the product ``a @ b.T`` is.

        Parameters
        ----------
        a, b : Tensor
            The product's operands.
        first : str
            ``a`` or ``b``: whose gradient autograd computes first, where nothing else tells.

        Returns
        -------
        tuple of Gradient and bool, or None
            The gradient, and whether an operand of this site confirms it. None if the shape is
            neither gradient's.
        """
        sides = [self._identity(x) for x in (a, b)]
        rows, columns, depth = a.shape[-2], b.shape[-2], a.shape[-1]
        fits = [
            Gradient(of, flipped)
            for of, shape in (("a", (self.n, self.d, self.h)), ("b", (self.h, self.d, self.n)))
            for flipped in (False, True)
            if shape == ((columns, rows, depth) if flipped else (rows, columns, depth))
        ]
        exact = [
            fit for fit in fits if sides[0 if fit.flipped else 1] == {"a": "b", "b": "a"}[fit.of]
        ]
        candidates = exact or fits
        if not candidates:
            return None
        best = min(
            candidates, key=lambda c: (self._gradients.get(c.of, 0), c.of != first, c.flipped)
        )
        return best, bool(exact)

    def _identity(self, tensor: Tensor) -> str | None:
        found = identity(tensor)
        return None if found is None else self._identities.get(found[0])


@functools.cache
def place(layer: str, op: str) -> str:
    """Return what a product of a layer is called: see `Site.place`."""
    return ".".join(filter(None, [layer, "" if op == "linear" else op])) or "matmul"


_OWN = re.compile(rf"(#\d+)?(\.({'|'.join(GRADIENTS.values())}))?$")


def place_of_name(name: str) -> str:
    """Return the place of the GEMM of a bundle: its name without ``#2``, ``.dx`` and the like.

    Parameters
    ----------
    name : str
        Such as ``lstm#2.dx``, the gradient of the second product of a layer.
    """
    return _OWN.sub("", name)


class Sites:
    """The sites of a model, by their place in it and by their node of the autograd graph.

    An autograd node has the sequence number that was current when its operator ran, and shows it
    when the backward pass comes to it.
    """

    def __init__(self) -> None:
        self._placed: dict[tuple[str, str], list[Site]] = defaultdict(list)
        self._of_node: dict[int, list[Site]] = defaultdict(list)
        self._recomputed: Counter[tuple[str, str]] = Counter()
        self._used: dict[str, int] = {}

    def unique(self, base: str) -> str:
        """Return a name that no GEMM has: `base`, or ``base#2`` and so on where that is taken."""
        number = self._used.get(base, 0) + 1
        name = base if number == 1 else f"{base}#{number}"
        while number > 1 and name in self._used:
            number += 1
            name = f"{base}#{number}"
        self._used[base] = number
        self._used.setdefault(name, 1)
        return name

    def add(self, layer: str, op: str, a: Tensor, b: Tensor, nodes: range, flipped: bool) -> Site:
        """Note a product of the forward pass that autograd nodes belong to."""
        site = self.derive(layer, op, self.unique(place(layer, op)), a, b, nodes, flipped)
        self._placed[layer, op].append(site)
        return site

    def add_without_nodes(self, layer: str, op: str, a: Tensor, b: Tensor, flipped: bool) -> Site:
        """Note a product of the forward pass that no autograd node belongs to."""
        site = _site(layer, op, self.unique(place(layer, op)), a, b, flipped)
        self._placed[layer, op].append(site)
        return site

    def derive(
        self, layer: str, op: str, name: str, a: Tensor, b: Tensor, nodes: range, flipped: bool
    ) -> Site:
        """Note a product of any pass by its nodes alone, so that its own gradients are known."""
        site = _site(layer, op, name, a, b, flipped)
        site.remember(a, b)
        for node in nodes:
            self._of_node[node].append(site)
        return site

    def recompute(self, layer: str, op: str, a: Tensor, b: Tensor, nodes: range) -> Site | None:
        """Find the site that is computed again, as in gradient checkpointing, with its new nodes.

        Where a layer has several, the last is computed again first, as the backward pass goes.
        """
        placed = self._placed[layer, op]
        for site in placed:
            site.remember(a, b)
        if not placed:
            return None
        again = self._recomputed[layer, op]
        self._recomputed[layer, op] += 1
        site = placed[-1 - again % len(placed)]
        for node in nodes:
            self._of_node[node].append(site)
        return site

    def of_node(self, node: int) -> list[Site]:
        """Return the sites of an autograd node, by its sequence number."""
        return self._of_node.get(node, [])

    def names(self) -> list[str]:
        """Return the names of the products of the forward pass, each once."""
        return [site.name for sites in self._placed.values() for site in sites]


def _site(layer: str, op: str, name: str, a: Tensor, b: Tensor, flipped: bool) -> Site:
    batch = a.shape[0] if a.ndim == 3 else 1
    return Site(layer, op, name, batch, a.shape[-2], a.shape[-1], b.shape[-2], flipped)
