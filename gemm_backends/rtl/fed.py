"""Simulate an array behind a memory port: whole GEMMs, and the order of tiles alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.array import packed, pointer
from gemm_backends.rtl.simulate import from_bits, verilated
from gemm_backends.rtl.tools import FED, PORT, ToolError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FedShape:
    """The parameters of an array behind a port.

    Parameters
    ----------
    rows, columns : int
        R and C.
    bits, width : int
        Of a digit and of an accumulator.
    k : int
        Columns of a tile.
    bytes_a_clock : int
        Of the port.
    """

    rows: int
    columns: int
    bits: int
    width: int
    k: int
    bytes_a_clock: int

    def tiles(self, n: int, h: int) -> list[tuple[slice, slice]]:
        """Return the rows of A and of B of every tile, in the order in which they are computed."""
        return [
            (slice(i, min(i + self.rows, n)), slice(j, min(j + self.columns, h)))
            for j in range(0, h, self.columns)
            for i in range(0, n, self.rows)
        ]

    def loads(self, rows: int, columns: int) -> int:
        """Return the clocks that the port takes for the digits of a tile."""
        return self._beats(self.k * (rows + columns) * self.bits)

    def stores(self, rows: int, columns: int) -> int:
        """Return the clocks that it takes for the sums."""
        return self._beats(rows * columns * self.width)

    def _beats(self, bits: int) -> int:
        return -(-bits // (8 * self.bytes_a_clock))

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the SystemVerilog module."""
        return {
            **{"R": self.rows, "C": self.columns, "A": self.bits, "B": self.bits},
            **{"W": self.width, "K": self.k, "BYTES": self.bytes_a_clock},
        }


@dataclass(frozen=True)
class FedRun:
    """What an array behind a port did.

    Parameters
    ----------
    sums : ndarray
        The product.
    cycles, stalls : int
        All clocks, and those in which nothing was computed.
    """

    sums: Integers
    cycles: int
    stalls: int


def simulate(
    shape: FedShape,
    a: Integers,
    b: Integers,
    sources: Sequence[Path] = FED,
    top: str = "fed_array",
) -> FedRun:
    """Multiply ``[n, k]`` by ``[h, k]`` digits, by columns of tiles.

    Raises
    ------
    ToolError
        If a tool fails, the array never finishes, or it reads or writes too much or too little.
    """
    tiles = shape.tiles(len(a), len(b))
    beat = shape.bytes_a_clock
    streams, stores = [], []
    for rows, columns in tiles:
        digits = np.concatenate([a[rows], b[columns]])
        bits = np.unpackbits(packed(digits, shape.bits), axis=1, bitorder="little")
        column = bits[:, : len(digits) * shape.bits].reshape(-1)
        stream = np.packbits(column, bitorder="little")
        size = len(a[rows]), len(b[columns])
        streams.append(np.pad(stream, (0, shape.loads(*size) * beat - len(stream))))
        stores.append(shape.stores(*size))
    read = np.concatenate(streams)
    sums = np.zeros(sum(stores) * beat, np.uint8)
    stalls = ctypes.c_long()
    clocks = shape.rows + shape.columns + shape.k - 2
    limit = 4 * (len(tiles) * clocks + len(read) // beat + sum(stores)) + 100
    library = ctypes.CDLL(str(verilated(sources, top, shape.parameters, "fed.cpp")))
    library.run.restype = ctypes.c_long
    cycles = library.run(
        *(ctypes.c_long(len(a)), ctypes.c_long(len(b))),
        *(pointer(read), ctypes.c_long(len(read) // beat)),
        *(pointer(sums), ctypes.c_long(sum(stores))),
        *(ctypes.c_long(beat), ctypes.c_long(limit), ctypes.byref(stalls)),
    )
    if cycles < 0:
        what = "never finished" if cycles == -1 else "read or wrote too much or too little"
        raise ToolError(f"{top} {what}")
    product = np.zeros((len(a), len(b)), np.int64)
    ends = np.cumsum(stores)[:-1] * beat
    for (rows, columns), written in zip(tiles, np.split(sums, ends), strict=True):
        place = product[rows, columns]
        bits = np.unpackbits(written, bitorder="little")[: place.size * shape.width]
        place[...] = from_bits(bits.reshape(*place.shape, -1))
    return FedRun(product, cycles, stalls.value)


@dataclass(frozen=True)
class Beats:
    """What a tile takes, in clocks of the array and of the port.

    Parameters
    ----------
    clocks : int
        Of the array.
    passing : int
        Unfinished sums, from and to the memory.
    stores, loads : int
        Finished sums, and operands.
    """

    clocks: int
    passing: int
    stores: int
    loads: int


def ordered(
    tiles: Sequence[Beats], sources: Sequence[Path] = (PORT,), top: str = "tile_port"
) -> tuple[int, int]:
    """Simulate the order of tiles alone; return all clocks, and those without computing.

    Raises
    ------
    ToolError
        If a tool fails, the port never finishes, or it moves too much or too little.
    """
    sizes = np.array([(t.clocks, t.passing, t.stores, t.loads) for t in tiles], np.int32)
    stalls, moved = ctypes.c_long(), (ctypes.c_long * 3)()
    library = ctypes.CDLL(str(verilated(sources, top, {}, "port.cpp")))
    library.run.restype = ctypes.c_long
    cycles = library.run(
        *(ctypes.c_long(len(tiles)), pointer(sizes), ctypes.c_long(2 * int(sizes.sum()) + 100)),
        *(ctypes.byref(stalls), moved),
    )
    if cycles < 0:
        raise ToolError(f"{top} never finished")
    if list(moved) != sizes.sum(0)[[2, 1, 3]].tolist():
        raise ToolError(f"{top} moved too much or too little")
    return cycles, stalls.value


def played(tiles: Sequence[Beats]) -> tuple[int, int]:
    """Play what `ordered` simulates, plainly: a port that does one thing after another.

    It moves what it is asked for in the order in which it was asked. A tile starts when its
    operands are there and the one before is done; it asks for the sums of that one to be written,
    for its own unfinished sums, and for the operands of the next tile, whose half of the buffers is
    free.
    """
    free = 0

    def move(asked: int, beats: int) -> int:
        nonlocal free
        free = max(free, asked) + beats
        return free

    there, done, previous = move(0, tiles[0].loads), 0, 0
    for tile, following in zip(tiles, [*tiles[1:], None], strict=True):
        start = max(there, done)
        move(start, previous)
        passed = move(start, tile.passing)
        there = move(start, following.loads) if following else 0
        done, previous = max(start + tile.clocks, passed), tile.stores
    end = move(done, previous)
    return end, end - sum(tile.clocks for tile in tiles)
