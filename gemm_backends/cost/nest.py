"""A GEMM in tiles that the memories hold: closed forms for many tile sizes at once.

Three loops run over the tiles of ``[n, d] x [h, d]``. An operand stays in its SRAM while only the
innermost loop goes on and that one does not move it; sums that are not complete when their tile is
left go to DRAM and come back. Within a tile the array takes its own tiles one after another. Tiles
differ only in whether they are the first or the last of each loop, so that sums over them are sums
over at most 27 kinds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gemm_backends.cost.array import Array
from gemm_backends.cost.mapping import DIMENSIONS
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.tiling import Moved, Widths

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

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


class _Kind(NamedTuple):
    """Tiles that are the first, the last or neither in a loop."""

    extent: Integers
    tiles: Integers
    first: Flags
    last: Flags


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
    kinds = {name: _kinds(whole[name], sizes[name]) for name in DIMENSIONS}
    turns = {name: -(-whole[name] // sizes[name]) for name in DIMENSIONS}
    stays = {operand: _innermost(order, loop, turns) for operand, loop in TURNS_WITH.items()}
    zero = np.zeros(len(sizes["n"]))
    compute, total = zero.astype(np.int64), zero
    dram, sram = [zero] * 4, [zero] * 4
    for n, d, h in itertools.product(*(kinds[name] for name in DIMENSIONS)):
        count = n.tiles * d.tiles * h.tiles
        clocks = array.clocks(n.extent, d.extent, h.extent)
        compute = compute + count * clocks
        loads_a, loads_b = ~(stays["a"] & ~h.first), ~(stays["b"] & ~n.first)
        a, b = n.extent * d.extent * widths.a, h.extent * d.extent * widths.b
        c = n.extent * h.extent * widths.c
        far = (
            loads_a * a,
            loads_b * b,
            ~(stays["c"] | d.first) * c,
            ~(stays["c"] & ~d.last) * c,
        )
        near = _near(array, n, d, h, widths)
        ends = (n.first & d.first & h.first, n.last & d.last & h.last)
        total = total + count * _takes(clocks, far, near, ends, memory)
        dram = [one + count * other for one, other in zip(dram, far, strict=True)]
        sram = [one + count * other for one, other in zip(sram, near, strict=True)]
    return Nested(compute, total, tuple(dram), tuple(sram))


def _kinds(whole: int, size: Integers) -> Iterator[_Kind]:
    """Yield the first tile of a loop if it is not the last, those between, and the last."""
    turns = -(-whole // size)
    yes = np.ones(len(size), np.bool_)
    several = turns > 1
    return iter(
        (
            _Kind(size, several.astype(np.int64), yes, ~yes),
            _Kind(size, np.maximum(0, turns - 2), ~yes, ~yes),
            _Kind(whole - (turns - 1) * size, yes.astype(np.int64), ~several, yes),
        )
    )


def _innermost(order: str, loop: str, turns: dict[str, Integers]) -> Flags:
    """Say for which sizes a loop is the innermost one that has more than one turn."""
    inner = order[order.index(loop) + 1 :]
    found: Flags = turns[loop] > 1
    for other in inner:
        found = found & (turns[other] == 1)
    return found


def _near(array: Array, n: _Kind, d: _Kind, h: _Kind, widths: Widths) -> tuple[Floats, ...]:
    """Return the bytes between SRAM and the array for a tile."""
    rows, columns = array.shape
    a, b = n.extent * d.extent * widths.a, h.extent * d.extent * widths.b
    c = n.extent * h.extent * widths.c
    if array.dataflow == "output-stationary":
        times_a, times_b = -(-h.extent // columns), -(-n.extent // rows)
        folds = np.ones_like(d.extent)
    else:
        folds = -(-array.steps(d.extent) // rows)
        times_a = times_b = np.ones_like(d.extent)
        if array.dataflow == "weight-stationary":
            times_a = -(-h.extent // columns)
        else:
            times_b = -(-n.extent // columns)
    return times_a * a, times_b * b, (folds - d.first) * c, folds * c


def _takes(
    clocks: Integers,
    far: tuple[Floats, ...],
    near: tuple[Floats, ...],
    ends: tuple[Flags, Flags],
    memory: MemorySystem,
) -> Floats:
    """Return the clocks of a tile: see `gemm_backends.cost.tiling.stalls`."""
    ports = (near[0], near[1], near[2] + near[3])
    feeding = clocks.astype(np.float64)
    if memory.sram_bandwidth is not None:
        for port in ports:
            feeding = np.maximum(feeding, port / memory.sram_bandwidth)
    if memory.dram_bandwidth is None:
        return feeding
    load = (far[0] + far[1] + far[2]) / memory.dram_bandwidth
    store = far[3] / memory.dram_bandwidth
    if not memory.double_buffered:
        return feeding + load + store
    first, last = ends
    hidden: Floats = np.maximum(feeding, ~first * load + ~last * store)
    return hidden + first * load + last * store
