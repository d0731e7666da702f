"""The places of a model's GEMMs, in the order in which its forward pass runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from accelsim.integer_mode import Replacing
from accelsim.integer_mode.kinds import kinds
from accelsim.types import SIDES, PerOperand, Side
from workloads.tracing import GemmCall


@dataclass(frozen=True)
class Shape:
    """The first GEMM of a place in one phase.

    Parameters
    ----------
    phase : str
        ``forward``, ``grad_input`` or ``grad_weight``.
    kinds : PerOperand of str
        Of A and of B.
    batch, n, d, h : int
        Its size.
    """

    phase: str
    kinds: PerOperand[str]
    batch: int
    n: int
    d: int
    h: int

    @property
    def macs(self) -> int:
        """Its multiplications."""
        return self.batch * self.n * self.d * self.h

    def sides(self, kind: str) -> list[Side]:
        """Return the operands of a kind."""
        return [side for side in SIDES if self.kinds.of(side) == kind]


@dataclass(frozen=True)
class Place:
    """The GEMMs of one place: a linear layer, or one of the products of attention.

    Parameters
    ----------
    name : str
        See `workloads.tracing.Site.place`.
    op : str
        ``linear``, ``qk`` or ``pv``.
    gemms : tuple of Shape
        One for each phase that ran, the forward pass first.
    before : frozenset of str
        Modules of the chain that were done before it; see `chain`.
    """

    name: str
    op: str
    gemms: tuple[Shape, ...]
    before: frozenset[str]

    @property
    def distinct_kinds(self) -> tuple[str, ...]:
        """The kinds of its operands, each once."""
        return tuple(dict.fromkeys(kind for g in self.gemms for kind in (g.kinds.a, g.kinds.b)))

    def gemm(self, phase: str) -> Shape:
        """Return the GEMM of a phase."""
        return next(gemm for gemm in self.gemms if gemm.phase == phase)

    def first(self, kind: str) -> Shape:
        """Return the first GEMM with an operand of a kind."""
        return next(gemm for gemm in self.gemms if gemm.sides(kind))


def chain(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of the longest list in a model, such as its decoder layers, by name.

    Parameters
    ----------
    model : nn.Module
        Any model; without a `torch.nn.ModuleList` there are none.
    """
    lists = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)
    }
    if not lists:
        return {}
    longest = max(lists, key=lambda name: (len(lists[name]), -len(name)))
    return {f"{longest}.{index}": module for index, module in enumerate(lists[longest])}


def survey(model: nn.Module, run: Callable[[], object]) -> list[Place]:
    """Run a model once and list the places of its GEMMs.

    Parameters
    ----------
    model : nn.Module
        Any model.
    run : callable
        Runs its forward pass, or both passes.
    """
    seen = _Survey(model)
    handles = [
        module.register_forward_hook(lambda *_, name=name: seen.done.add(name))
        for name, module in chain(model).items()
    ]
    try:
        with seen:
            run()
    finally:
        for handle in handles:
            handle.remove()
    return list(seen.places.values())


class _Survey(Replacing):
    """Computes GEMMs as they are, and keeps their places."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.places: dict[str, Place] = {}
        self.done: set[str] = set()

    def product(self, call: GemmCall) -> Tensor:
        """Return the product in floating point."""
        site, known = call.site, self.places.get(call.site.place)
        if known is None:
            known = self.places[site.place] = Place(site.place, site.op, (), frozenset(self.done))
        if all(gemm.phase != call.phase for gemm in known.gemms):
            weights = PerOperand(*(self._lineage.of(x).weight for x in (call.a, call.b)))
            shape = Shape(
                call.phase,
                kinds(call, weights),
                batch=call.a.shape[:-2].numel(),
                n=call.a.shape[-2],
                d=call.a.shape[-1],
                h=call.b.shape[-2],
            )
            self.places[site.place] = replace(known, gemms=(*known.gemms, shape))
        return call.a @ call.b.mT
