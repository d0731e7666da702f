"""The mapping of a GEMM with the fewest cycles or the least energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.errors import InputError
from gemm_backends.cost.array import Array
from gemm_backends.cost.mapping import DIMENSIONS, ORDERS, Mapped, Search
from gemm_backends.cost.nest import Nested, least, nested, room
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.order import Floats, Integers
from gemm_backends.cost.tiling import Moved, Widths

ALL = 16
"""A dimension of at most this many tiles of the array is cut in every way."""

TOGETHER = 32
"""Mappings whose cycles are counted together."""

Energy = Callable[[Moved, Moved, Floats], Floats]
"""The energy of what moves between DRAM and SRAM, between SRAM and the array, and of cycles."""


class Found(NamedTuple):
    """A mapping with its cost.

    Parameters
    ----------
    mapping : Mapped
        Tiles and order; sizes are at most the GEMM's.
    compute_cycles : int
        Clocks of the array.
    cycles : float
        With stalls.
    dram, sram : Moved
        Bytes that move.
    tried : int
        Mappings that were compared.
    """

    mapping: Mapped
    compute_cycles: int
    cycles: float
    dram: Moved
    sram: Moved
    tried: int


def evaluated(
    array: Array, memory: MemorySystem, widths: Widths, whole: dict[str, int], mapping: Mapped
) -> Found:
    """Return the cost of one mapping.

    Raises
    ------
    InputError
        If the memories do not hold a tile.
    """
    sizes = {
        name: np.array([min(getattr(mapping, name), whole[name])], np.int64) for name in DIMENSIONS
    }
    check_room(array, memory, widths, whole, sizes)
    found = nested(array, memory, widths, whole, sizes, mapping.order)
    return _found(found, sizes, mapping.order, 0, 1)


def check_room(
    array: Array,
    memory: MemorySystem,
    widths: Widths,
    whole: dict[str, int],
    sizes: dict[str, Integers],
) -> None:
    """Check that the memories hold a tile.

    Raises
    ------
    InputError
        If one does not; the message says how much fits.
    """
    needed = room(array, sizes, whole)
    for name, part, width in zip("abc", memory.sram.each, widths, strict=True):
        size, space = float(needed[name][0]) * width, memory.room(part)
        if size > space:
            half = (
                "half of it is filled while the other is in use" if memory.double_buffered else ""
            )
            raise InputError(
                f"memory.mapping.tile: {size:g} bytes of {_WHAT[name]} do not fit the SRAM of "
                f"memory.sram_kb.{name}, {part.kilobytes:g} KB, which has room for {space:g}"
                f"{': ' + half if half else ''}; choose a smaller tile or a larger SRAM"
            )


_WHAT = {"a": "A", "b": "B", "c": "sums"}


def search(
    array: Array,
    memory: MemorySystem,
    widths: Widths,
    whole: dict[str, int],
    objective: Search,
    energy: Energy,
) -> Found | None:
    """Compare mappings and return the best; None if the memories hold no tile of the array.

    Each dimension is cut into equal parts of whole tiles of the array: in every way if they are at
    most `ALL`, else into numbers of parts that grow by a quarter. Loops run in all six orders. The
    most promising are looked at first, and only as long as one may be better than the best.
    """
    cuts = (_cuts(whole[name], _grain(array, name)) for name in DIMENSIONS)
    grids = np.meshgrid(*cuts, indexing="ij")
    sizes = {name: grid.reshape(-1) for name, grid in zip(DIMENSIONS, grids, strict=True)}
    needed = room(array, sizes, whole)
    fits = np.ones(len(sizes["n"]), np.bool_)
    for name, part, width in zip("abc", memory.sram.each, widths, strict=True):
        fits &= needed[name] * width <= memory.room(part)
    sizes = {name: size[fits] for name, size in sizes.items()}
    if not len(sizes["n"]):
        return None
    best: tuple[tuple[float, float], Found] | None = None

    def keys(costs: Nested) -> tuple[Floats, Floats]:
        joules = energy(Moved(*costs.dram), Moved(*costs.sram), costs.cycles)  # type: ignore[arg-type]
        return (costs.cycles, joules) if objective == "cycles" else (joules, costs.cycles)

    for order in ORDERS:
        promised = keys(least(array, memory, widths, whole, sizes, order))
        by_promise = np.lexsort(promised[::-1])
        for start in range(0, len(by_promise), TOGETHER):
            chosen = by_promise[start : start + TOGETHER]
            if best is not None and _rank(promised, chosen[0]) >= best[0]:
                break
            some = {name: size[chosen] for name, size in sizes.items()}
            costs = nested(array, memory, widths, whole, some, order)
            found = keys(costs)
            index = int(np.lexsort(found[::-1])[0])
            rank = _rank(found, index)
            if best is None or rank < best[0]:
                best = rank, _found(costs, some, order, index, len(ORDERS) * len(sizes["n"]))
    assert best is not None
    return best[1]


def _rank(keys: tuple[Floats, Floats], index: int) -> tuple[float, float]:
    first, second = keys
    return float(first[index]), float(second[index])


def _found(found: Nested, sizes: dict[str, Integers], order: str, index: int, tried: int) -> Found:
    n, d, h = (int(sizes[name][index]) for name in DIMENSIONS)
    compute = int(found.compute_cycles[index])
    whole = float(found.cycles[index])
    return Found(Mapped(n, d, h, order), compute, whole, *found.moved(index), tried)


def _grain(array: Array, name: str) -> int:
    """Return what a size of a tile is a multiple of, so that no place of the array is idle."""
    return {"n": array.tile.n, "d": array.tile.d, "h": array.tile.h}[name]


def _cuts(length: int, grain: int) -> npt.NDArray[np.int64]:
    """Return the sizes of tiles along a dimension."""
    tiles = -(-length // grain)
    parts, sizes = 1, set()
    while parts <= tiles:
        sizes.add(min(length, grain * -(-tiles // parts)))
        parts = parts + 1 if tiles <= ALL else max(parts + 1, parts * 5 // 4)
    if tiles <= ALL:
        sizes |= {min(length, grain * size) for size in range(1, tiles + 1)}
    sizes.add(min(length, grain))
    return np.array(sorted(sizes), np.int64)
