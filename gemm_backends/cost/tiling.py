"""The tiles of a GEMM on an array: what each loads, stores and computes, and the time of all.

A GEMM is cut along two of its three sizes into tiles that the array takes one after another; along
the third it streams. Tiles differ only in whether they are the first or the last of their loops and
in the remainder at the end, so that there are at most nine kinds, and sums over tiles are closed
forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gemm_backends.cost.cycles import Dataflow
from gemm_backends.cost.options import MemorySystem
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
class TileKind:
    """Tiles that are alike.

    Parameters
    ----------
    count : int
        How many there are.
    dram, sram : Moved
        Bytes between DRAM and SRAM, and between SRAM and the array, for each.
    is_first, is_last : bool
        Whether it is the very first, or last, tile of the GEMM.
    """

    count: int
    dram: Moved
    sram: Moved
    is_first: bool
    is_last: bool


class _Part(NamedTuple):
    """Folds of a loop that are alike: their extent, their place, and how many there are."""

    extent: int
    first: bool
    last: bool
    folds: int


def tiles(
    dataflow: Dataflow, tile: Tile, n: int, d: int, h: int, widths: Widths, memory: MemorySystem
) -> list[TileKind]:
    """Return the kinds of tiles of ``[n, d] x [h, d] -> [n, h]``, with what they move.

    The outer loop runs over h, or over n where A stays in place; the inner one over n where sums
    stay, else over d. An operand that its SRAM holds is loaded once. Sums that leave the array
    unfinished stay in their SRAM if it holds those of one outer step; otherwise they go to DRAM and
    come back.
    """
    if 0 in (n, d, h):
        return []
    kind: Callable[[_Part, _Part], tuple[Moved, Moved]]
    if dataflow == "output-stationary":
        outer, inner = _parts(h, tile.h), _parts(n, tile.n)
        kind = _output_stationary(n, d, outer[0].extent, widths, memory)
    elif dataflow == "weight-stationary":
        outer, inner = _parts(h, tile.h), _parts(d, tile.d)
        streamed = memory.holds(memory.sram.a, n * d * widths.a)
        kind = _partial(n, outer[0].extent, streamed, widths, memory)
    else:
        outer, inner = _parts(n, tile.n), _parts(d, tile.d)
        streamed = memory.holds(memory.sram.b, h * d * widths.b)
        swapped = _partial(h, outer[0].extent, streamed, Widths(*_swap(widths)), memory)

        def kind(o: _Part, i: _Part) -> tuple[Moved, Moved]:
            dram, sram = swapped(o, i)
            return Moved(*_swap(dram)), Moved(*_swap(sram))

    return [
        TileKind(o.folds * i.folds, *kind(o, i), o.first and i.first, o.last and i.last)
        for o in outer
        for i in inner
    ]


def _swap(values: Sequence[float]) -> Iterator[float]:
    a, b, *rest = values
    yield from (b, a, *rest)


def _parts(length: int, size: int) -> list[_Part]:
    folds = -(-length // size)
    rest = length - (folds - 1) * size
    if folds == 1:
        return [_Part(rest, True, True, 1)]
    middle = [_Part(size, False, False, folds - 2)] if folds > 2 else []
    return [_Part(size, True, False, 1), *middle, _Part(rest, False, True, 1)]


def _output_stationary(
    n: int, d: int, widest: int, widths: Widths, memory: MemorySystem
) -> Callable[[_Part, _Part], tuple[Moved, Moved]]:
    holds_a = memory.holds(memory.sram.a, n * d * widths.a)
    holds_strip = memory.holds(memory.sram.b, widest * d * widths.b)

    def kind(o: _Part, i: _Part) -> tuple[Moved, Moved]:
        a, b = i.extent * d * widths.a, o.extent * d * widths.b
        c = i.extent * o.extent * widths.c
        loads_a, loads_b = o.first or not holds_a, i.first or not holds_strip
        return Moved(loads_a * a, loads_b * b, 0, c), Moved(a, b, 0, c)

    return kind


def _partial(
    streamed: int, widest: int, holds_streamed: bool, widths: Widths, memory: MemorySystem
) -> Callable[[_Part, _Part], tuple[Moved, Moved]]:
    """Describe tiles of an operand in place (here B) by which the other one (A) streams."""
    holds_sums = memory.holds(memory.sram.c, streamed * widest * widths.c)

    def kind(o: _Part, i: _Part) -> tuple[Moved, Moved]:
        a, b = streamed * i.extent * widths.a, i.extent * o.extent * widths.b
        c = streamed * o.extent * widths.c
        back, out = (not i.first) * c, c
        sram = Moved(a, b, back, out)
        if holds_sums:
            back, out = 0.0, i.last * c
        return Moved((o.first or not holds_streamed) * a, b, back, out), sram

    return kind


def moved(kinds: Sequence[TileKind]) -> tuple[Moved, Moved]:
    """Return the bytes of all tiles: between DRAM and SRAM, and between SRAM and the array."""
    dram, sram = [0.0] * 4, [0.0] * 4
    for kind in kinds:
        for part in range(4):
            dram[part] += kind.count * kind.dram[part]
            sram[part] += kind.count * kind.sram[part]
    return Moved(*dram), Moved(*sram)


def stalls(kinds: Sequence[TileKind], clocks: float, memory: MemorySystem) -> int:
    """Return the clocks in which the array waits for memory.

    Parameters
    ----------
    kinds : sequence of TileKind
        All tiles.
    clocks : float
        What the array takes for one.
    memory : MemorySystem
        The memories.

    Notes
    -----
    With double buffers the loads and stores of a tile overlap with computing: a tile takes the
    longer of the two. What the first tile loads and the last one stores overlaps with nothing.
    Without double buffers nothing overlaps.
    """
    if memory.dram_bandwidth is None and memory.sram_bandwidth is None:
        return 0
    waited = math.fsum(k.count * _waits(k, clocks, memory) for k in kinds)
    return math.ceil(waited)


def _waits(kind: TileKind, clocks: float, memory: MemorySystem) -> float:
    feeding = clocks
    if memory.sram_bandwidth is not None:
        most = max(kind.sram.a, kind.sram.b, kind.sram.c_read + kind.sram.c_write)
        feeding = max(clocks, most / memory.sram_bandwidth)
    load = _time(kind.dram.a + kind.dram.b + kind.dram.c_read, memory.dram_bandwidth)
    store = _time(kind.dram.c_write, memory.dram_bandwidth)
    if not memory.double_buffered:
        return feeding + load + store - clocks
    exposed = kind.is_first * load + kind.is_last * store
    hidden = (not kind.is_first) * load + (not kind.is_last) * store
    return max(feeding, hidden) - clocks + exposed


def _time(size: float, bandwidth: float | None) -> float:
    return 0.0 if bandwidth is None else size / bandwidth
