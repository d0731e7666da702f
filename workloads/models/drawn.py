"""GEMMs of which only the shapes are known: their operands are drawn from a measured profile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from accelsim.types import PerOperand
from workloads.drawing import Drawing
from workloads.gemm import Gemm, Operands
from workloads.profile import Profile, find


@dataclass(frozen=True)
class Sketch:
    """Draws a GEMM of fewer lines that has the heavy hitters of another one.

    Parameters
    ----------
    drawings : mapping
        How A and B are drawn, by ``"a"`` and ``"b"``.
    """

    drawings: Mapping[str, Drawing]

    @cached_property
    def key(self) -> str:
        """What GEMMs of one kind share: shapes and profiles, not names."""
        kind = repr([replace(drawing, key="") for drawing in self.drawings.values()])
        return hashlib.sha256(kind.encode()).hexdigest()

    def draw(self, lines: PerOperand[int]) -> Operands:
        """Draw at most `lines` rows of A and of B, all columns, of one matrix of the batch."""
        return self._drawing("a", lines.a).draw(), self._drawing("b", lines.b).draw()

    def _drawing(self, side: str, lines: int) -> Drawing:
        drawing = self.drawings[side]
        *_, rows, d = drawing.shape
        key = f"sketch/{side}/{self.key}"
        return replace(drawing, shape=(min(rows, lines), d), key=key)


class _Load:
    """Draws both operands."""

    def __init__(self, drawings: Mapping[str, Drawing]) -> None:
        self._drawings = drawings

    def __call__(self) -> Operands:
        return self._drawings["a"].draw(), self._drawings["b"].draw()


def drawn_gemm(
    workload: str,
    name: str,
    op: str,
    layer: str,
    phase: str,
    batch: int | None,
    shape: tuple[int, int, int],
    profile: Profile,
    seed: int = 0,
) -> Gemm:
    """Return a GEMM whose operands are drawn when they are loaded.

    Parameters
    ----------
    workload, name, op, layer, phase : str
        As `workloads.Gemm` has them.
    batch : int or None
        The leading dimension; None for operands without one.
    shape : tuple of int
        n, d and h.
    profile : Profile
        The heavy hitters of operands.
    seed : int
        Decides the operands, together with the GEMM's name.
    """
    n, d, h = shape
    lead = () if batch is None else (batch,)
    drawings = {
        side: Drawing(
            find(profile, op, phase, side, name),
            (*lead, lines, d),
            _signed(op, phase, side),
            f"{workload}/{name}/{side}/{seed}",
        )
        for side, lines in (("a", n), ("b", h))
    }
    return Gemm(
        workload,
        name,
        op,
        layer,
        phase,
        1 if batch is None else batch,
        n,
        d,
        h,
        load=_Load(drawings),
        batched=batch is not None,
        sketch=Sketch(drawings),
    )


def _signed(op: str, phase: str, side: str) -> bool:
    """Whether an operand has negative entries: attention probabilities P have none."""
    return (op, phase, side) not in {("pv", "forward", "a"), ("pv", "grad_weight", "b")}
