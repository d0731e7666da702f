"""Where in a model a GEMM belongs: its module, what it does there, and its gradients."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

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
"""What the gradient of an operand is called at the end of a GEMM's name."""


@dataclass(eq=False)
class Site:
    """One product of the forward pass.

    Parameters
    ----------
    layer : str
        The innermost module around it, as ``named_modules`` calls it; empty outside of modules.
    op : str
        ``linear``, ``qk`` or ``pv``. A product of two activations is taken to be `qk`, and turns
        out not to be if no softmax of its result follows: see `settle`.
    number : int
        How many products of this kind the layer has computed before.
    batch, n, d, h : int
        Its shape.
    flipped : bool
        Whether A and B are the operator's second and first operand, so that its result is C.T.
    """

    layer: str
    op: str
    number: int
    batch: int
    n: int
    d: int
    h: int
    flipped: bool = False
    provisional: bool = False
    _kind: str = ""
    _identities: dict[Identity, str] = field(default_factory=dict, repr=False)
    _kept: list[StorageWeakRef] = field(default_factory=list, repr=False)
    _gradients: Counter[str] = field(default_factory=Counter, repr=False)

    def settle(self) -> None:
        """Take a product of two activations whose result no softmax was taken of as `linear`."""
        if self.provisional:
            self.op, self._kind, self.provisional = "linear", "matmul", False

    @property
    def place(self) -> str:
        """The layer and, in attention, ``qk`` or ``pv``; the same whenever the layer runs again."""
        kind = self._kind or ("" if self.op == "linear" else self.op)
        return ".".join(filter(None, [self.layer, kind])) or "matmul"

    @property
    def name(self) -> str:
        """The name of the forward GEMM: its place, and ``#2`` where it is the second there."""
        return self.place if self.number == 0 else f"{self.place}#{self.number + 1}"

    def gradient_name(self, of: str, repeat: int) -> str:
        """Return the name of the GEMM of a gradient, the `repeat`-th of this site."""
        base = f"{self.name}.{GRADIENTS[self.op, of]}"
        return base if repeat == 0 else f"{base}#{repeat + 1}"

    def count_gradient(self, of: str) -> int:
        """Return how many gradients of this operand came before, and count one more."""
        self._gradients[of] += 1
        return self._gradients[of] - 1

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

    def gradient(self, a: Tensor, b: Tensor, first: str) -> tuple[str, bool] | None:
        """Tell which operand's gradient the product ``a @ b.T`` is.

        Parameters
        ----------
        a, b : Tensor
            The product's operands.
        first : str
            ``a`` or ``b``: whose gradient autograd computes first, where nothing else tells.

        Returns
        -------
        tuple of str and bool, or None
            ``a`` or ``b``, and whether the product's operands are flipped: in ``dA = dC @ B`` and
            ``dB = dC.T @ A`` the gradient of C is the first. None if it is neither.
        """
        sides = [self._identity(x) for x in (a, b)]
        rows, columns, depth = a.shape[-2], b.shape[-2], a.shape[-1]
        fits = [
            (of, flipped)
            for of, shape in (("a", (self.n, self.d, self.h)), ("b", (self.h, self.d, self.n)))
            for flipped in (False, True)
            if shape == ((columns, rows, depth) if flipped else (rows, columns, depth))
        ]
        # dA multiplies with B, dB with A: the other operand of the site, second unless flipped.
        exact = [
            (of, flipped)
            for of, flipped in fits
            if sides[0 if flipped else 1] == {"a": "b", "b": "a"}[of]
        ]
        candidates = exact or fits
        if not candidates:
            return None
        return min(candidates, key=lambda c: (self._gradients[c[0]], c[0] != first, c[1]))

    def _identity(self, tensor: Tensor) -> str | None:
        found = identity(tensor)
        return None if found is None else self._identities.get(found[0])


class Sites:
    """The sites of a model, by their place in it and by their node of the autograd graph.

    An autograd node has the sequence number that was current when its operator ran, and shows it
    when the backward pass comes to it.
    """

    def __init__(self) -> None:
        self._placed: dict[tuple[str, str], list[Site]] = defaultdict(list)
        self._of_node: dict[int, list[Site]] = defaultdict(list)
        self._recomputed: Counter[tuple[str, str]] = Counter()

    def __iter__(self) -> Iterator[Site]:
        return (site for sites in self._placed.values() for site in sites)

    def add(
        self, layer: str, op: str, a: Tensor, b: Tensor, node: int, flipped: bool, provisional: bool
    ) -> Site:
        """Note a product of the forward pass that the autograd node `node` belongs to."""
        placed = self._placed[layer, op]
        batch = a.shape[0] if a.ndim == 3 else 1
        n, d, h = a.shape[-2], a.shape[-1], b.shape[-2]
        site = Site(layer, op, len(placed), batch, n, d, h, flipped, provisional)
        site.remember(a, b)
        placed.append(site)
        self._of_node[node].append(site)
        return site

    def recompute(self, layer: str, op: str, a: Tensor, b: Tensor, node: int) -> Site | None:
        """Find the site that is computed again, as gradient checkpointing does, and its new node.

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
        self._of_node[node].append(site)
        return site

    def of_node(self, node: int) -> list[Site]:
        """Return the sites of an autograd node, by its sequence number."""
        return self._of_node.get(node, [])
