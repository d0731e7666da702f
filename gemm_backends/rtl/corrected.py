"""Simulate an array whose sums lanes correct: whole GEMMs with their high digits, tile by tile."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gemm_backends.corrections import Corrections, HighDigits
from gemm_backends.cost.lanes import Lanes
from gemm_backends.rtl.array import packed, pointer
from gemm_backends.rtl.simulate import from_bits, verilated
from gemm_backends.rtl.tools import CORRECTED, ToolError, generated

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CorrectedShape:
    """The parameters of a square array with lanes.

    Parameters
    ----------
    size : int
        S: rows and columns of places.
    count : int
        Lanes, as the option ``correction_lanes`` has them.
    bits : int
        Width of a digit.
    width : int
        Of an accumulator.
    unit : int
        Bits of a digit level: the exponents of high digits are multiples of it.
    """

    size: int
    count: int
    bits: int
    width: int
    unit: int

    @property
    def banks(self) -> int:
        """Banks of lanes."""
        return Lanes(self.count, self.size, self.size).banks(self.size, self.size)

    @property
    def lanes(self) -> int:
        """Lanes of a bank."""
        return min(self.count, self.size)

    @property
    def groups(self) -> int:
        """Groups of places that a bank takes one after another."""
        return -(-self.size // self.lanes)

    @property
    def levels(self) -> int:
        """The highest level that is not shifted out of an accumulator."""
        return (self.width - 1) // self.unit

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the SystemVerilog module."""
        return {
            "S": self.size,
            "BANKS": self.banks,
            "LANES": self.lanes,
            "B": self.bits,
            "W": self.width,
            "UNIT": self.unit,
        }

    @property
    def _sizes(self) -> list[int]:
        group, line = (max(1, (x - 1).bit_length()) for x in (self.groups, self.size))
        level = self.levels.bit_length()
        return [self.banks, self.lanes, self.groups, group, line, level, self.bits]


class CorrectedSimulator:
    """A Verilator simulator of arrays with the ports of ``corrected_array.sv``.

    Parameters
    ----------
    shape : CorrectedShape
        Their parameters.
    sources : sequence of Path
        Their files.
    tops : sequence of str
        The modules: several stand side by side, and one is looked at.

    Raises
    ------
    ToolError
        If a tool is missing or refuses the source.
    """

    def __init__(
        self,
        shape: CorrectedShape,
        sources: Sequence[Path] = CORRECTED,
        tops: Sequence[str] = ("corrected_array",),
    ) -> None:
        self._shape = shape
        files = [*sources, _chosen(tops)]
        library = verilated(files, "chosen", shape.parameters, "corrected.cpp")
        self._library = ctypes.CDLL(str(library))
        self._library.create.restype = ctypes.c_void_p
        self._library.run.restype = ctypes.c_long

    def gemm(
        self, a: Integers, b: Integers, corrections: Corrections, choice: int = 0
    ) -> tuple[Integers, Integers]:
        """Multiply ``[n, d]`` by ``[h, d]`` low digits, and correct the product.

        Returns
        -------
        sums : ndarray
            ``[n, h]``.
        cycles : ndarray
            Clocks of every tile.

        Raises
        ------
        ToolError
            If the array is still not idle long after it should be.
        """
        size = self._shape.size
        n, h = len(a), len(b)
        high, wide = -(-n // size), -(-h // size)
        sums, cycles = np.zeros((high * size, wide * size), np.int64), np.zeros((high, wide), int)
        a = np.pad(a, ((0, high * size - n), (0, 0)))
        b = np.pad(b, ((0, wide * size - h), (0, 0)))
        of_a, of_b = (_entries(high, self._shape.unit) for high in (corrections.a, corrections.b))
        array = ctypes.c_void_p(self._library.create())
        try:
            for i, j in np.ndindex(high, wide):
                x, y = a[i * size :][:size], b[j * size :][:size]
                extents = min(size, n - i * size), min(size, h - j * size)
                own = [_of_tile(e, t * size, size) for e, t in ((of_a, i), (of_b, j))]
                found, clocks = self._tile(array, choice, x, y, extents, own)
                sums[i * size :, j * size :][:size, :size] = found
                cycles[i, j] = clocks
        finally:
            self._library.destroy(array)
        return sums[:n, :h], cycles

    def _tile(
        self,
        array: ctypes.c_void_p,
        choice: int,
        a: Integers,
        b: Integers,
        extents: tuple[int, int],
        high: list[list[_Entry]],
    ) -> tuple[Integers, int]:
        shape, k = self._shape, a.shape[1]
        steps = [
            *_split(self._steps(high[0], b, extents[1], high[1]), shape.banks),
            *_split(self._steps(high[1], a, extents[0], []), shape.banks),
        ]
        counts = np.array([len(bank) for bank in steps], np.int64)
        every = [step for bank in steps for step in bank]
        entries = np.array([step.entry for step in every], np.int64).reshape(-1, 5)
        digits = np.array([step.digits for step in every], np.int64)
        packed_a, packed_b = packed(a, shape.bits), packed(b, shape.bits)
        places = shape.size**2
        sums = np.zeros(-(-places * shape.width // 8), np.uint8)
        limit = 4 * (k + 2 * shape.size + len(every) * shape.groups) + 1000
        clocks = self._library.run(
            array,
            ctypes.c_long(choice),
            *(pointer(packed_a), ctypes.c_long(packed_a.shape[1])),
            *(pointer(packed_b), ctypes.c_long(packed_b.shape[1])),
            *(ctypes.c_long(k), ctypes.c_long(limit)),
            pointer(np.array(shape._sizes, np.int64)),
            *map(pointer, (counts, entries, digits)),
            *(pointer(sums), ctypes.c_long(len(sums))),
        )
        if clocks < 0:
            raise ToolError(f"the array was not idle {limit} clocks after its first operands")
        bits = np.unpackbits(sums, bitorder="little")[: places * shape.width]
        return from_bits(bits.reshape(shape.size, shape.size, shape.width)), clocks

    def _steps(
        self, high: list[_Entry], other: Integers, extent: int, met: list[_Entry]
    ) -> Iterator[_Step]:
        """Yield what a bank is offered: a digit with its line, and with each digit it meets."""
        shape = self._shape
        for entry in high:
            digits = np.zeros(shape.groups * shape.lanes, np.int64)
            digits[: shape.size] = other[:, entry.column]
            last = -(-extent // shape.lanes) - 1
            yield self._step(entry, 0, last, entry.level, digits)
            for partner in met:
                if partner.column == entry.column:
                    group, alone = partner.line // shape.lanes, np.zeros_like(digits)
                    alone[partner.line] = partner.value
                    yield self._step(entry, group, group, entry.level + partner.level, alone)

    def _step(self, entry: _Entry, first: int, last: int, level: int, digits: Integers) -> _Step:
        kept = level if level <= self._shape.levels else 0
        rows = digits.reshape(self._shape.groups, self._shape.lanes)
        return _Step(entry.line, (first, last, entry.line, entry.value, kept), rows)


@dataclass(frozen=True)
class _Entry:
    """A high digit: its row, its column, its value and its level."""

    line: int
    column: int
    value: int
    level: int


@dataclass(frozen=True)
class _Step:
    """A high digit as a bank takes it, with the digits of the other operand by group."""

    line: int
    entry: tuple[int, int, int, int, int]
    digits: Integers


def _entries(high: HighDigits, unit: int) -> list[_Entry]:
    line = high.digits.row_of_entry
    fields = high.index[line], high.digits.columns, high.digits.values, high.exponent[line] // unit
    return [_Entry(*map(int, row)) for row in zip(*(f.tolist() for f in fields), strict=True)]


def _of_tile(entries: list[_Entry], start: int, size: int) -> list[_Entry]:
    return [
        _Entry(e.line - start, e.column, e.value, e.level)
        for e in entries
        if start <= e.line < start + size
    ]


def _split(steps: Iterator[_Step], banks: int) -> list[list[_Step]]:
    every = list(steps)
    return [[step for step in every if step.line % banks == bank] for bank in range(banks)]


def _chosen(tops: Sequence[str]) -> Path:
    """Write a module `chosen` that holds arrays with the same inputs, and shows one's outputs."""
    count = len(tops)
    arrays = "\n".join(
        f"""  {top} #(.S(S), .BANKS(BANKS), .LANES(LANES), .B(B), .W(W), .UNIT(UNIT)) u{number} (
      .clk, .reset, .valid, .first, .a, .b, .of_b, .offered, .first_group, .last_group, .line,
      .value, .level, .digits, .group(groups[{number}]), .taken(takens[{number}]),
      .idle(idles[{number}]), .sums(all_sums[{number}]));"""
        for number, top in enumerate(tops)
    )
    text = f"""module chosen #(
    parameter int S = 1, BANKS = 1, LANES = 1, B = 2, W = 8, UNIT = 1,
    localparam int Groups = (S + LANES - 1) / LANES,
    localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1,
    localparam int LineBits = S > 1 ? $clog2(S) : 1,
    localparam int LevelBits = $clog2((W - 1) / UNIT + 1)
) (
    input logic clk, reset, valid, first, of_b,
    input logic [7:0] choice,
    input logic [S*B-1:0] a, b,
    input logic [BANKS-1:0] offered,
    input logic [BANKS*GroupBits-1:0] first_group, last_group,
    input logic [BANKS*LineBits-1:0] line,
    input logic [BANKS*B-1:0] value,
    input logic [BANKS*LevelBits-1:0] level,
    input logic [BANKS*LANES*B-1:0] digits,
    output logic [BANKS*GroupBits-1:0] group,
    output logic [BANKS-1:0] taken,
    output logic idle,
    output logic [S*S*W-1:0] sums
);
  logic [BANKS*GroupBits-1:0] groups[{count}];
  logic [BANKS-1:0] takens[{count}];
  logic idles[{count}];
  logic [S*S*W-1:0] all_sums[{count}];
{arrays}
  assign group = groups[choice];
  assign taken = takens[choice];
  assign idle = idles[choice];
  assign sums = all_sums[choice];
endmodule
"""
    return generated(text, "chosen")
