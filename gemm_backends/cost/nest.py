"""A GEMM in tiles that the memories hold: closed forms for many tile sizes at once.

Three loops run over the tiles of ``[n, d] x [h, d]``. An operand stays in its SRAM while only the
innermost loop goes on and that one does not move it; sums that are not complete when their tile is
left go to DRAM and come back. Within a tile the array takes its own tiles one after another. Tiles
differ only in where they and their neighbours are in each loop, so that 125 of them stand for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gemm_backends.cost.array import Array
from gemm_backends.cost.mapping import DIMENSIONS, Mapped
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.order import (
    Flags,
    Floats,
    Integers,
    Moves,
    Place,
    elapsed,
    every,
    representatives,
)
from gemm_backends.cost.tiling import Moved, Widths

TURNS_WITH = {"a": "h", "b": "n", "c": "d"}
"""The loop that does not move an operand."""


class Nested(NamedTuple):
    """The costs of mappings, one entry for each.

    Parameters
    ----------
    compute_cycles : ndarray
        Clocks of the array.
    cycles : ndarray
        With those in which it waits for memory.
    dram, sram : tuple of ndarray
        Bytes moved, as `Moved` names them.
    """

    compute_cycles: Integers
    cycles: Floats
    dram: tuple[Floats, ...]
    sram: tuple[Floats, ...]

    def moved(self, index: int) -> tuple[Moved, Moved]:
        """Return the bytes that one mapping moves: DRAM's and SRAM's."""
        dram, sram = (Moved(*(float(part[index]) for part in level)) for level in self[2:])
        return dram, sram


def room(array: Array, sizes: dict[str, Integers], whole: dict[str, int]) -> dict[str, Integers]:
    """Return the entries of A, of B and of sums that have to be in SRAM for tiles of these sizes.

    Sums that are complete when they leave the array need room only for what it has under way.
    """
    n, d, h = (sizes[name] for name in DIMENSIONS)
    rows, columns = array.shape
    if array.dataflow == "output-stationary":
        under_way = np.minimum(n, rows) * np.minimum(h, columns)
    elif array.dataflow == "weight-stationary":
        under_way = n * np.minimum(h, columns)
    else:
        under_way = np.minimum(n, columns) * h
    return {"a": n * d, "b": h * d, "c": np.where(d < whole["d"], n * h, under_way)}


def nested(
    array: Array,
    memory: MemorySystem,
    widths: Widths,
    whole: dict[str, int],
    sizes: dict[str, Integers],
    order: str,
) -> Nested:
    """Return what a GEMM takes in tiles of these sizes.

    Parameters
    ----------
    array : Array
        What computes a tile.
    memory : MemorySystem
        The memories; that they hold a tile is not checked (`room`).
    widths : Widths
        Bytes of a digit of A, one of B and a sum.
    whole : dict of int
        n, d and h of the GEMM, at least 1.
    sizes : dict of ndarray
        n, d and h of the tiles, at most the GEMM's.
    order : str
        The loops, the outermost first.
    """
    nest = Nest(array, widths, whole, sizes, order)
    loops = representatives(*(nest.turns[name] for name in order))
    extents = nest.extents(tuple(index[: len(loops.count)] for index in loops.place))
    clocks = array.clocks(*(extents[name] for name in DIMENSIONS))
    total = elapsed(loops, clocks.astype(np.float64), nest.at(loops.place), memory)
    return nest.least(memory)._replace(cycles=total)


def least(
    array: Array,
    memory: MemorySystem,
    widths: Widths,
    whole: dict[str, int],
    sizes: dict[str, Integers],
    order: str,
) -> Nested:
    """Return what `nested` does, but of the cycles only the least that they could be.

    That much either the array computes or DRAM moves. It is known without looking at any tile.
    """
    return Nest(array, widths, whole, sizes, order).least(memory)


def tiles_of(
    array: Array, widths: Widths, whole: dict[str, int], mapping: Mapped
) -> tuple[Integers, Moves]:
    """Return the clocks of every tile of a mapping, one by one, and what each moves."""
    sizes = {name: np.array(min(getattr(mapping, name), whole[name])) for name in DIMENSIONS}
    nest = Nest(array, widths, whole, sizes, mapping.order)
    order = every(*(int(nest.turns[name]) for name in mapping.order))
    place = tuple(index[: len(order.count)] for index in order.place)
    extents = nest.extents(place)
    return array.clocks(*(extents[name] for name in DIMENSIONS)), nest.at(place)


class Nest:
    """Tiles of several sizes, and three loops over them; the parameters are those of `nested`."""

    def __init__(
        self,
        array: Array,
        widths: Widths,
        whole: dict[str, int],
        sizes: dict[str, Integers],
        order: str,
    ) -> None:
        self._array, self._widths, self._order, self._whole = array, widths, order, whole
        self._sizes = {name: sizes[name] for name in DIMENSIONS}
        self.turns = {name: -(-whole[name] // sizes[name]) for name in DIMENSIONS}
        self._rests: dict[str, Integers] = {
            name: whole[name] - (self.turns[name] - 1) * sizes[name] for name in DIMENSIONS
        }
        self._stays = {
            operand: _innermost(order, loop, self.turns) for operand, loop in TURNS_WITH.items()
        }

    def least(self, memory: MemorySystem) -> Nested:
        """Return clocks, bytes, and the least that all cycles could be."""
        n, d, h = (self._whole[name] for name in DIMENSIONS)
        a, b, c = n * d * self._widths.a, h * d * self._widths.b, n * h * self._widths.c
        again = {
            operand: np.where(self._stays[operand], 1, self.turns[loop])
            for operand, loop in TURNS_WITH.items()
        }
        far = (a * again["a"], b * again["b"], c * (again["c"] - 1), c * again["c"])
        full, rest = self._passes(**self._sizes), self._passes(**self._rests)
        times_a, times_b, folds = (
            full[i] * (self.turns[loop] - 1) + rest[i] for i, loop in enumerate(TURNS_WITH.values())
        )
        near = (times_a * a, times_b * b, (folds - 1) * c, folds * c)
        compute = np.stack(list(self._clocks())).sum(0)
        cycles = compute.astype(np.float64)
        if memory.dram_bandwidth is not None:
            moving = (far[0] + far[1] + far[2] + far[3]) / memory.dram_bandwidth
            cycles = np.maximum(cycles, moving) if memory.double_buffered else cycles + moving
        return Nested(compute, cycles, far, near)

    def extents(self, place: Place) -> dict[str, Integers]:
        """Return n, d and h of the tiles at some places."""
        found = {}
        for name, index in zip(self._order, place, strict=True):
            is_last = index == self.turns[name] - 1
            found[name] = np.where(is_last, self._rests[name], self._sizes[name])
        return found

    def _clocks(self) -> Iterator[Integers]:
        """Yield the clocks of all tiles that are alike in where they are the last ones."""
        for ends in itertools.product((False, True), repeat=len(DIMENSIONS)):
            count, extents = np.ones_like(self._sizes["n"]), []
            for name, is_last in zip(DIMENSIONS, ends, strict=True):
                count = count if is_last else count * (self.turns[name] - 1)
                extents.append((self._rests if is_last else self._sizes)[name])
            n, d, h = extents
            yield count * self._array.clocks(n, d, h)

    def at(self, place: Place) -> Moves:
        """Return what the tiles at some places move."""
        index, extents = dict(zip(self._order, place, strict=True)), self.extents(place)
        n, d, h = (extents[name] for name in DIMENSIONS)
        a, b, c = n * d * self._widths.a, h * d * self._widths.b, n * h * self._widths.c
        first = index["d"] == 0
        last = index["d"] == self.turns["d"] - 1
        loads_a = ~(self._stays["a"] & (index["h"] > 0)) * a
        loads_b = ~(self._stays["b"] & (index["n"] > 0)) * b
        back = ~(self._stays["c"] | first) * c
        out = ~(self._stays["c"] & ~last) * c
        times_a, times_b, folds = self._passes(n, d, h)
        near = (times_a * a, times_b * b, (folds - first) * c, folds * c)
        ahead = loads_a + loads_b + back
        return Moves((loads_a, loads_b, back, out), near, ahead, np.zeros_like(c), out)

    def _passes(self, n: Integers, d: Integers, h: Integers) -> tuple[Integers, ...]:
        """Return how often the array reads A and B of a tile from SRAM and writes its sums."""
        rows, columns = self._array.shape
        one = np.ones_like(d)
        if self._array.dataflow == "output-stationary":
            return -(-h // columns), -(-n // rows), one
        folds = -(-self._array.steps(d) // rows)
        if self._array.dataflow == "weight-stationary":
            return -(-h // columns), one, folds
        return one, -(-n // columns), folds


def _innermost(order: str, loop: str, turns: dict[str, Integers]) -> Flags:
    """Say for which sizes a loop is the innermost one that has more than one turn."""
    inner = order[order.index(loop) + 1 :]
    found: Flags = turns[loop] > 1
    for other in inner:
        found = found & (turns[other] == 1)
    return found
