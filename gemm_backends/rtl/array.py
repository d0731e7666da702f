"""Simulate a systolic array: whole GEMMs, tile by tile."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.simulate import from_bits, to_bits, verilated
from gemm_backends.rtl.tools import ToolError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ArrayShape:
    """The parameters of an array.

    Parameters
    ----------
    rows, columns : int
        Places: R rows of A by C rows of B at a time.
    bits_a, bits_b : int
        Widths of the digits.
    width : int
        Of an accumulator.
    saturate : bool
        Whether it saturates or wraps.
    """

    rows: int
    columns: int
    bits_a: int
    bits_b: int
    width: int
    saturate: bool

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the SystemVerilog module."""
        return {
            "R": self.rows,
            "C": self.columns,
            "A": self.bits_a,
            "B": self.bits_b,
            "W": self.width,
            "SATURATE": int(self.saturate),
        }


@dataclass(frozen=True)
class Tile:
    """The results of an array for one tile.

    Parameters
    ----------
    sums, added, overflows, first : ndarray
        For every place ``[R, C]`` the sum, the number of products added, how many of these steps
        overflowed, and the number of the first that did.
    cycles : int
        Clocks from the one that takes the first column until the array is idle.
    """

    sums: Integers
    added: Integers
    overflows: Integers
    first: Integers
    cycles: int


class ArraySimulator:
    """A Verilator simulator of a module with the ports of ``systolic_array.sv``.

    Parameters
    ----------
    sources : sequence of Path
        SystemVerilog or Verilog files.
    top : str
        The module.
    shape : ArrayShape
        Its parameters.
    copies : int
        Arrays that `top` holds side by side, all with the same inputs, places one after another.

    Raises
    ------
    ToolError
        If a tool is missing or refuses the source.
    """

    def __init__(
        self, sources: Sequence[Path], top: str, shape: ArrayShape, copies: int = 1
    ) -> None:
        self._shape, self._copies, self._top = shape, copies, top
        self._library = ctypes.CDLL(str(verilated(sources, top, shape.parameters, "array.cpp")))
        self._library.create.restype = ctypes.c_void_p
        self._library.run.restype = ctypes.c_long

    def tiles(self, operands: Iterable[tuple[Integers, Integers]]) -> Iterator[list[Tile]]:
        """Multiply pairs of ``[R, k]`` and ``[C, k]`` digits, one pair after another.

        Yields
        ------
        list of Tile
            What each copy did with a pair.

        Raises
        ------
        ToolError
            If the array is still not idle long after it should be.
        """
        array = ctypes.c_void_p(self._library.create())
        try:
            for a, b in operands:
                yield self._tile(array, a, b)
        finally:
            self._library.destroy(array)

    def _tile(self, array: ctypes.c_void_p, a: Integers, b: Integers) -> list[Tile]:
        shape = self._shape
        k = a.shape[1]
        packed_a, packed_b = packed(a, shape.bits_a), packed(b, shape.bits_b)
        places = self._copies * shape.rows * shape.columns
        sums = np.zeros(-(-places * shape.width // 8), np.uint8)
        added, overflows, first = np.zeros((3, places), np.int64)
        limit = 4 * (k + shape.rows + shape.columns) + 1000
        cycles = self._library.run(
            array,
            *(pointer(packed_a), ctypes.c_long(packed_a.shape[1])),
            *(pointer(packed_b), ctypes.c_long(packed_b.shape[1])),
            *(ctypes.c_long(k), ctypes.c_long(limit)),
            *(pointer(sums), ctypes.c_long(len(sums)), ctypes.c_long(places)),
            *map(pointer, (added, overflows, first)),
        )
        if cycles < 0:
            raise ToolError(f"{self._top} was not idle {limit} clocks after its first operands")
        bits = np.unpackbits(sums, bitorder="little")[: places * shape.width]
        values = from_bits(bits.reshape(places, shape.width))
        found = np.stack([values, added, overflows, first], 1)
        per_copy = found.reshape(self._copies, shape.rows, shape.columns, 4)
        return [
            Tile(copy[..., 0], copy[..., 1], copy[..., 2], copy[..., 3], cycles)
            for copy in per_copy
        ]

    def gemm(self, a: Integers, b: Integers) -> tuple[Integers, Integers, Integers, int]:
        """Multiply ``[n, d]`` by ``[h, d]`` digits, one tile after another.

        Returns
        -------
        sums, overflows, first : ndarray
            ``[n, h]``, as in `Tile`.
        cycles : int
            The clocks of all tiles.
        """
        rows, columns = self._shape.rows, self._shape.columns
        n, h = len(a), len(b)
        high, wide = -(-n // rows) * rows, -(-h // columns) * columns
        a = np.pad(a, ((0, high - n), (0, 0)))
        b = np.pad(b, ((0, wide - h), (0, 0)))
        sums, overflows, first = np.zeros((3, high, wide), np.int64)
        cycles = 0
        if a.shape[1] == 0:
            return sums[:n, :h], overflows[:n, :h], first[:n, :h], 0
        places = [
            (slice(i, i + rows), slice(j, j + columns))
            for i in range(0, high, rows)
            for j in range(0, wide, columns)
        ]
        done = self.tiles((a[i], b[j]) for i, j in places)
        for place, (tile,) in zip(places, done, strict=True):
            sums[place], overflows[place], first[place] = tile.sums, tile.overflows, tile.first
            cycles += tile.cycles
        return sums[:n, :h], overflows[:n, :h], first[:n, :h], cycles


def packed(digits: Integers, width: int) -> npt.NDArray[np.uint8]:
    """Return the columns of ``[rows, k]`` as bits: one row of bytes for every k."""
    bits = to_bits(digits.T, width)
    return np.packbits(bits.reshape(len(bits), -1), axis=1, bitorder="little")


def pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    """Return where an array's values lie, for a function in C."""
    return array.ctypes.data_as(ctypes.c_void_p)
