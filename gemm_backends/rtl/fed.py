"""Simulate an array behind a memory port: whole GEMMs of tiles that are all alike."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.array import packed, pointer
from gemm_backends.rtl.simulate import from_bits, verilated
from gemm_backends.rtl.tools import FED, ToolError

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

    @property
    def loads(self) -> int:
        """Clocks that the port takes for the digits of a tile."""
        bits = self.k * (self.rows + self.columns) * self.bits
        return -(-bits // (8 * self.bytes_a_clock))

    @property
    def stores(self) -> int:
        """Clocks that it takes for the sums."""
        return -(-self.rows * self.columns * self.width // (8 * self.bytes_a_clock))

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
    """Multiply ``[n, k]`` by ``[h, k]`` digits, whole tiles, by columns of tiles.

    Raises
    ------
    ToolError
        If a tool fails, the array never finishes, or it reads or writes too much or too little.
    """
    rows, columns = shape.rows, shape.columns
    tiles = [(i, j) for j in range(0, len(b), columns) for i in range(0, len(a), rows)]
    beat = shape.bytes_a_clock
    streams = []
    for i, j in tiles:
        digits = np.concatenate([a[i : i + rows], b[j : j + columns]])
        bits = np.unpackbits(packed(digits, shape.bits), axis=1, bitorder="little")
        column = bits[:, : (rows + columns) * shape.bits].reshape(-1)
        stream = np.packbits(column, bitorder="little")
        streams.append(np.pad(stream, (0, shape.loads * beat - len(stream))))
    read = np.concatenate(streams)
    sums = np.zeros((len(tiles), shape.stores * beat), np.uint8)
    stalls = ctypes.c_long()
    clocks = rows + columns + shape.k - 2
    limit = 4 * len(tiles) * (clocks + shape.loads + shape.stores) + 100
    library = ctypes.CDLL(str(verilated(sources, top, shape.parameters, "fed.cpp")))
    library.run.restype = ctypes.c_long
    cycles = library.run(
        ctypes.c_long(len(tiles)),
        *(pointer(read), ctypes.c_long(len(tiles) * shape.loads)),
        *(pointer(sums), ctypes.c_long(len(tiles) * shape.stores)),
        *(ctypes.c_long(beat), ctypes.c_long(limit), ctypes.byref(stalls)),
    )
    if cycles < 0:
        what = "never finished" if cycles == -1 else "read or wrote too much or too little"
        raise ToolError(f"{top} {what}")
    product = np.zeros((len(a), len(b)), np.int64)
    for (i, j), written in zip(tiles, sums, strict=True):
        bits = np.unpackbits(written, bitorder="little")[: rows * columns * shape.width]
        product[i : i + rows, j : j + columns] = from_bits(bits.reshape(rows, columns, -1))
    return FedRun(product, cycles, stalls.value)
