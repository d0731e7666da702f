"""The tiles of a GEMM on an array, taken one after another, and what each of them moves.

A GEMM is cut along two of its three sizes into tiles of the array; along the third it streams.
Tiles differ only in where they and their neighbours are in both loops, so that 25 of them stand for
all.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gemm_backends.cost.cycles import Dataflow
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.order import (
    Integers,
    Moves,
    Order,
    Place,
    elapsed,
    every,
    representatives,
)
from gemm_backends.types import Tile


class Moved(NamedTuple):
    """Bytes of A, of B, and of sums that are read back and written."""

    a: float = 0.0
    b: float = 0.0
    c_read: float = 0.0
    c_write: float = 0.0

    @property
    def total(self) -> float:
        """All bytes."""
        return sum(self)


class Widths(NamedTuple):
    """Bytes that a digit of A, one of B and a sum take in memory."""

    a: float
    b: float
    c: float


@dataclass(frozen=True)
class Tiling:
    """The tiles of ``[n, d] x [h, d] -> [n, h]``, in the order in which an array takes them.

    The outer loop runs over h, or over n where A stays in place; the inner one over n where sums
    stay, else over d. An operand that its SRAM holds is loaded once. Unfinished sums stay in their
    SRAM if it holds those of one outer step; otherwise they go to DRAM and come back, line by line,
    while the tiles run to which they belong.

    Parameters
    ----------
    dataflow : {"output-stationary", "weight-stationary", "input-stationary"}
        What stays in place.
    tile : Tile
        What the array takes at once.
    n, d, h : int
        Of the GEMM, at least 1.
    widths : Widths
        Bytes of a digit of A, one of B and a sum.
    memory : MemorySystem
        The memories.
    lanes : tuple of float
        Bytes of A and of B that correction lanes read from SRAM, in every tile.
    cuts : ndarray, optional
        Where the steps of the inner loop begin and end, if they are not all as long as a tile.
    """

    dataflow: Dataflow
    tile: Tile
    n: int
    d: int
    h: int
    widths: Widths
    memory: MemorySystem
    lanes: tuple[float, float] = (0.0, 0.0)
    cuts: Integers | None = None

    @functools.cached_property
    def _loops(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The length of both loops, and of a step of each."""
        if self.dataflow == "output-stationary":
            return (self.h, self.tile.h), (self.n, self.tile.n)
        if self.dataflow == "weight-stationary":
            return (self.h, self.tile.h), (self.d, self.tile.d)
        return (self.n, self.tile.n), (self.d, self.tile.d)

    @property
    def turns(self) -> tuple[int, int]:
        """How many steps the outer and the inner loop have."""
        (outer, by), (inner, step) = self._loops
        return -(-outer // by), -(-inner // step) if self.cuts is None else len(self.cuts) - 1

    @functools.cached_property
    def _order(self) -> Order:
        """Tiles that stand for all, or all of them where they are unlike."""
        return _standing(*self.turns) if self.cuts is None else every(*self.turns)

    @functools.cached_property
    def _chosen(self) -> Moves:
        return self.at(self._order.place)

    def moved(self) -> tuple[Moved, Moved]:
        """Return the bytes of all tiles: between DRAM and SRAM, and between SRAM and the array."""
        order, found = self._order, self._chosen
        dram, sram = (
            Moved(*(float(order.summed(part)) for part in level))
            for level in (found.dram, found.sram)
        )
        return dram, sram

    def stalls(self, clocks: int | Integers) -> int:
        """Return the clocks in which the array waits for memory.

        Parameters
        ----------
        clocks : int or ndarray
            What the array takes for a tile; if tiles differ, ``[outer steps, inner steps]``.
        """
        memory = self.memory
        if memory.dram_bandwidth is None and memory.sram_bandwidth is None:
            return 0
        if isinstance(clocks, int):
            order, moves = self._order, self._chosen
            each, busy = np.full(len(order.count), clocks), clocks * math.prod(self.turns)
        else:
            order = every(*self.turns)
            moves, each, busy = self.at(order.place), clocks.reshape(-1), int(clocks.sum())
        return math.ceil(elapsed(order, each.astype(np.float64), moves, memory) - busy)

    def at(self, place: Place) -> Moves:
        """Return what tiles move, by their outer and their inner step."""
        outer, inner = place
        across, down = (
            np.where(index == turns - 1, length - (turns - 1) * step, step)
            for index, turns, (length, step) in zip(place, self.turns, self._loops, strict=True)
        )
        if self.cuts is not None:
            down = np.diff(self.cuts)[inner]
        if self.dataflow == "output-stationary":
            return self._where_sums_stay(outer, inner, across, down)
        return self._where_sums_pass(outer, inner, across, down)

    def _where_sums_stay(self, outer: Integers, inner: Integers, h: Integers, n: Integers) -> Moves:
        widths, memory = self.widths, self.memory
        a, b, c = n * self.d * widths.a, h * self.d * widths.b, n * h * widths.c
        strip = min(self.h, self.tile.h) * self.d * widths.b
        stays_a = (outer > 0) & memory.holds(memory.sram.a, self.n * self.d * widths.a)
        stays_b = (inner > 0) & memory.holds(memory.sram.b, strip)
        none = np.zeros_like(c)
        dram = (~stays_a * a, ~stays_b * b, none, c)
        sram = (a + self.lanes[0], b + self.lanes[1], none, c)
        return Moves(dram, sram, dram[0] + dram[1], none, c)

    def _where_sums_pass(
        self, outer: Integers, inner: Integers, across: Integers, d: Integers
    ) -> Moves:
        """Describe tiles of an operand in place, B or A, by which the other one streams."""
        widths, memory = self.widths, self.memory
        by_weights = self.dataflow == "weight-stationary"
        streamed = self.n if by_weights else self.h
        stream, still = (widths.a, widths.b) if by_weights else (widths.b, widths.a)
        passing, staying = streamed * d * stream, d * across * still
        c = streamed * across * widths.c
        part = memory.sram.a if by_weights else memory.sram.b
        stays = (outer > 0) & memory.holds(part, streamed * self.d * stream)
        length, step = self._loops[0]
        holds_sums = memory.holds(memory.sram.c, streamed * min(length, step) * widths.c)
        last = inner == self.turns[1] - 1
        back, out = (inner > 0) * c, c
        far_back, far_out = (0 * c, last * c) if holds_sums else (back, out)
        loaded = ~stays * passing
        ahead, during = loaded + staying, far_back + ~last * far_out
        behind = last * c
        far, near = (loaded, staying), (passing, staying)
        if not by_weights:
            far, near = far[::-1], near[::-1]
        return Moves((*far, far_back, far_out), (*near, back, out), ahead, during, behind)


@functools.lru_cache(maxsize=1 << 12)
def _standing(outer: int, inner: int) -> Order:
    return representatives(np.asarray(outer), np.asarray(inner))
