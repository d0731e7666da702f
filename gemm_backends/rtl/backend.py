"""A systolic array in SystemVerilog, simulated clock by clock: the package's, or a user's own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from accelsim.errors import InputError
from gemm_backends.base import GemmBackend
from gemm_backends.rtl.array import ArrayShape, ArraySimulator
from gemm_backends.rtl.tools import DESIGN, missing
from gemm_backends.types import Accumulator, Availability, Cost, GemmSpec, OverflowReport, Support

WIDEST = 16

LARGEST = 1 << 28
"""Multiply-accumulates, padding included, of the largest GEMM that is simulated."""


class RtlSystolic(GemmBackend):
    """An output-stationary systolic array in SystemVerilog, simulated by Verilator.

    A GEMM is cut into tiles of R rows of A by C rows of B, which the array takes one after another.
    Your own module can replace the package's if it has the same parameters and ports
    (``docs/rtl.md``).

    Parameters
    ----------
    bits : int, sequence of two int, or None
        Width of the digits, 2 to 16, or of A's and of B's; None builds the array that the digits
        ask for.
    accumulator_bits : int
        Width of the accumulators, 8 to 64.
    overflow : {"wrap", "saturate"}
        What an accumulator does with a sum that does not fit.
    array : sequence of two int
        R and C.
    source : str, Path, sequence of them, or None
        SystemVerilog or Verilog files with your own module; None is the package's array.
    top : str
        The module.
    reports_overflow : bool
        Whether its port ``overflow`` can be trusted; the package's can.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    name = "rtl-systolic"
    bits: int | tuple[int, int] = WIDEST
    accumulator = Accumulator(bits=32, overflow="wrap")

    def __init__(
        self,
        bits: int | Sequence[int] | None = None,
        accumulator_bits: int = 32,
        overflow: Literal["wrap", "saturate"] = "wrap",
        array: Sequence[int] = (8, 8),
        source: str | Path | Sequence[str | Path] | None = None,
        top: str = "systolic_array",
        reports_overflow: bool = True,
    ) -> None:
        widths = (bits, bits) if isinstance(bits, int) else tuple(bits or (WIDEST, WIDEST))
        if len(widths) != 2 or not all(2 <= width <= WIDEST for width in widths):
            raise ValueError(f"bits must be from 2 to {WIDEST}, or two such widths, got {bits!r}")
        if not 8 <= accumulator_bits <= 64:
            raise ValueError(f"accumulator_bits must be from 8 to 64, got {accumulator_bits}")
        if len(array) != 2 or not all(1 <= size <= 64 for size in array):
            raise ValueError(f"array must be two numbers from 1 to 64, got {array!r}")
        self.bits = (widths[0], widths[1])
        self.accumulator = Accumulator(accumulator_bits, overflow)
        self._shape = ArrayShape(
            array[0], array[1], *self.bits, accumulator_bits, overflow == "saturate"
        )
        names = [source] if isinstance(source, str | Path) else source
        self._sources = DESIGN if names is None else tuple(map(Path, names))
        for path in self._sources:
            if not path.is_file():
                raise ValueError(f"source {str(path)!r} is not a file")
        self._top, self._reports = top, reports_overflow
        self._lock = threading.Lock()
        self._simulator: ArraySimulator | None = None
        self._clocks: dict[int, int] = {}

    def availability(self) -> Availability:
        """Report whether Verilator, Perl and a C++ compiler are installed."""
        problem = missing(yosys=False)
        return Availability(not problem, problem, execution="emulated")

    def for_bits(self, bits_a: int, bits_b: int) -> RtlSystolic:
        """Return the array for digits of these widths, unless `bits` was given."""
        if self.options["bits"] is not None:
            return self
        return self.with_options(bits=(bits_a, bits_b))

    def supports(self, spec: GemmSpec) -> Support:
        """Refuse digits that are too wide, and GEMMs that would take minutes to simulate."""
        macs = self.executed_macs(spec)
        if macs > LARGEST:
            return Support(
                False, f"simulates up to {LARGEST:,} multiply-accumulates, and this takes {macs:,}"
            )
        return super().supports(spec)

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates of all tiles, padding included."""
        rows, columns = self._shape.rows, self._shape.columns
        return -(-spec.n // rows) * rows * -(-spec.h // columns) * columns * spec.d

    def cost(self, spec: GemmSpec) -> Cost:
        """Count the clocks: those of one simulated tile of this K, for every tile.

        Raises
        ------
        ToolError
            As `matmul`.
        """
        rows, columns = self._shape.rows, self._shape.columns
        tiles = -(-spec.n // rows) * -(-spec.h // columns)
        if spec.d not in self._clocks:
            digits = (np.zeros((size, spec.d), np.int64) for size in (rows, columns))
            self._clocks[spec.d] = self._built().gemm(*digits)[3]
        return Cost(
            cycles=tiles * self._clocks[spec.d],
            model=f"{rows}x{columns} array, {self._top}",
            peak_macs=rows * columns,
            basis={"cycles": "measured: clocks of a simulated tile, times the tiles"},
        )

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int64.

        Raises
        ------
        InputError
            If a digit does not fit `bits`.
        ToolError
            If Verilator or the compiler refuses the source, or the array never becomes idle.
        """
        return self.matmul_report(a, b)[0]

    def matmul_report(self, a: Tensor, b: Tensor) -> tuple[Tensor, OverflowReport]:
        """Multiply as `matmul` does, and count the steps at which ``overflow`` was set."""
        for name, digits, bits in zip("AB", (a, b), self.operand_bits, strict=True):
            if digits.numel():
                low, high = (int(value) for value in digits.aminmax())
                if low < -(1 << (bits - 1)) or high >= 1 << (bits - 1):
                    raise InputError(f"{name} holds digits outside the {bits}-bit range")
        sums, overflows, first, _ = self._built().gemm(*(x.to(torch.int64).numpy() for x in (a, b)))
        product = torch.from_numpy(sums)
        if not self._reports:
            return product, OverflowReport(None)
        places = overflows.nonzero()
        if not len(places[0]):
            return product, OverflowReport(0)
        row, column = (int(index[0]) for index in places)
        return product, OverflowReport(int(overflows.sum()), (row, column, int(first[row, column])))

    def _built(self) -> ArraySimulator:
        with self._lock:
            if self._simulator is None:
                self._simulator = ArraySimulator(self._sources, self._top, self._shape)
            return self._simulator
