"""A bit-accurate model of an array of multipliers, with any accumulator behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from accelsim.errors import InputError
from gemm_backends.base import GemmBackend
from gemm_backends.corrections import Corrections
from gemm_backends.cost.accelerator import Accelerator
from gemm_backends.cost.array import Array
from gemm_backends.cost.cycles import Dataflow
from gemm_backends.cost.model import CostModel
from gemm_backends.cost.options import memory_system
from gemm_backends.datapath import Datapath
from gemm_backends.emulator import compiled, shortcut, stepwise
from gemm_backends.emulator.lanes import corrected_by
from gemm_backends.emulator.multipliers import (
    WIDEST_TABLE,
    Digit,
    Table,
    built_in,
    is_file,
    load_table,
)
from gemm_backends.emulator.shortcut import Digits
from gemm_backends.errors import AccumulatorOverflow
from gemm_backends.operands import Prepared, matrices, summed, unflattened
from gemm_backends.types import (
    Accumulator,
    Availability,
    Cost,
    GemmSpec,
    OverflowReport,
    UnpackWork,
)

WIDEST = 16


class Emulator(GemmBackend):
    """Multiply digits and sum the products exactly as a described datapath does.

    Where the operands prove that no step can overflow, or all registers wrap (sums modulo a power
    of two may be formed in any order), the product comes from an exact matrix multiplication by
    int8 kernels or floating-point BLAS; otherwise every step is carried out. `how` says which.

    Parameters
    ----------
    bits : int, sequence of two int, or None
        Width of the digits, 2 to 16, or of A's and of B's. None stands for the multiplier that the
        digits ask for: `for_bits` builds it, and until then the widest digits are allowed. With a
        table from a file it stands for the table's widths.
    accumulator_bits : int
        Width of the accumulator, 8 to 64.
    overflow : {"wrap", "saturate", "error"}
        What the registers do at a step whose sum does not fit.
    unsigned : {"a", "b"} or None
        The operand whose digits are unsigned: 0 to ``2**bits - 1``, as uint8 or uint16 (or int8 or
        int16 without a negative digit).
    multiplier : str or Path
        ``exact``; or, for digits of up to 8 bits, ``truncated:<columns>``,
        ``broken-array:<rows>:<columns>``, ``mitchell``, or the path of a .npy file that holds all
        products (`gemm_backends.emulator.multipliers`).
    tree : int
        Products that an adder tree sums, without loss, for each step of the accumulator. The
        default, 1, adds one product per step.
    k_block : int or None
        Products after which the accumulator is added to an outer one and starts again at zero.
    outer_bits : int
        Width of the outer accumulator, 8 to 64, if there is one.
    array : sequence of two int
        R rows and C columns of multiply-accumulators, which cycles and area are modelled for. They
        change no result.
    dataflow : {"output-stationary", "weight-stationary", "input-stationary"}
        What stays in its place in the array: the sums, the digits of B, or those of A.
    drain : bool
        Whether the sums of an output-stationary array leave row by row before the next tile
        begins; otherwise all are read at once.
    memory : mapping or "none"
        SRAM and DRAM around the array (`gemm_backends.cost.options.memory_system`), which stalls,
        traffic and their energy are modelled for. They change no result.
    correction_lanes : int
        Multipliers beside an output-stationary array that take single high digits, a digit against
        a line of the other operand, and add the products to the array's own accumulators while it
        runs; 0 for none. Unpacking at ``t = 1`` (``strategy: block, block: 1``) uses them.
    unpacker : int
        Values a clock that a unit rounds and splits into digits on their way in; 0 for none. It
        needs a memory, and changes no result.

    Raises
    ------
    ValueError
        If a value is outside its range, or the options contradict each other.
    """

    name = "emulator"
    bits: int | tuple[int, int] = WIDEST
    accumulator = Accumulator(bits=32, overflow="wrap")
    batched = True

    def __init__(
        self,
        bits: int | Sequence[int] | None = None,
        accumulator_bits: int = 32,
        overflow: Literal["wrap", "saturate", "error"] = "wrap",
        unsigned: Literal["a", "b"] | None = None,
        multiplier: str | Path = "exact",
        tree: int = 1,
        k_block: int | None = None,
        outer_bits: int = 64,
        array: Sequence[int] = (32, 32),
        dataflow: Dataflow = "output-stationary",
        drain: bool = False,
        memory: Mapping[str, Any] | Literal["none"] = "none",
        correction_lanes: int = 0,
        unpacker: int = 0,
    ) -> None:
        _check_range("accumulator_bits", accumulator_bits, 8, 64)
        _check_range("outer_bits", outer_bits, 8, 64)
        for name, value in (("tree", tree), ("k_block", k_block)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        multiplier = str(multiplier)
        loaded = load_table(multiplier) if is_file(multiplier) else None
        self.bits = _widths(bits, multiplier, loaded)
        self._digits = tuple(
            Digit(width, signed=unsigned != side)
            for side, width in zip("ab", self.operand_bits, strict=True)
        )
        self._table = loaded
        if loaded is None and multiplier != "exact":
            self._table = built_in(multiplier, *self._digits)
        self._fixed = bits is not None or loaded is not None
        self._datapath = Datapath(
            inner=Accumulator(accumulator_bits, overflow),
            tree=tree,
            k_block=k_block,
            outer=None if k_block is None else Accumulator(outer_bits, overflow),
        )
        a, b = self._digits
        self._largest_product = (
            a.largest * b.largest if self._table is None else self._table.largest
        )
        self.accumulator = self._datapath.declared(self._largest_product)
        if len(array) != 2:
            raise ValueError(
                f"array must be two numbers from 1 to 65536, rows and columns, got {list(array)}"
            )
        rows, columns = array
        places = Array(
            (rows, columns),
            dataflow,
            drain,
            self.operand_bits,
            self._datapath,
            signed=unsigned is None,
            products="exact" if self._table is None else self._table.source,
            correction_lanes=correction_lanes,
        )
        model = Accelerator(places, memory_system(memory), unpacker)
        if self._fixed:
            model.check_memory()
        self._model: CostModel = model
        self.tile = self._model.tile

    def availability(self) -> Availability:
        """Report that this runs anywhere, in software."""
        return Availability(available=True, execution="emulated")

    def for_bits(self, bits_a: int, bits_b: int) -> Emulator:
        """Return the multiplier of these widths, unless its widths are given."""
        widest = WIDEST if self._table is None else WIDEST_TABLE
        if self._fixed or max(bits_a, bits_b) > widest:
            return self  # in the second case for `supports` to refuse
        return self.with_options(bits=bits_a if bits_a == bits_b else (bits_a, bits_b))

    def prepared(self, digits: Tensor) -> Prepared:
        """Check one operand and find its range; unsigned types are for an unsigned side."""
        if self.options["unsigned"] and digits.dtype in _UNSIGNED_TYPES and digits.ndim >= 2:
            signed = digits.to(_UNSIGNED_TYPES[digits.dtype])
            return Prepared(digits.shape, (self.prepare(signed),))
        return super().prepared(digits)

    def prepare(self, digits: Tensor) -> Digits:
        """Find the range of the digits, on which the shortcuts depend."""
        return Digits.of(digits)

    def matmul(self, a: Tensor | Digits, b: Tensor | Digits) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int32 or int64.

        Raises
        ------
        InputError
            If a digit is out of range.
        AccumulatorOverflow
            If a step overflows and `overflow` is ``"error"``.
        """
        a, b = self._checked("A", a), self._checked("B", b)
        if self._table is None and self._order_is_free(a, b):
            return shortcut.wrapped_product(a, b, self._datapath)
        return self._report(a, b)[0]

    def matmul_report(
        self, a: Tensor | Digits, b: Tensor | Digits
    ) -> tuple[Tensor, OverflowReport]:
        """Multiply as `matmul` does and count the steps that overflowed.

        The first is given with the k of the last product that its step adds.
        """
        return self._report(self._checked("A", a), self._checked("B", b))

    @property
    def corrects_in_place(self) -> bool:
        """Whether there are lanes beside the array."""
        return bool(self.options["correction_lanes"])

    def corrected_matmul(
        self, a: Tensor | Digits, b: Tensor | Digits, corrections: Corrections
    ) -> Tensor:
        """Multiply low digits, and add the products of high ones to the same accumulators.

        The accumulators wrap, so the sum modulo their range is what they hold in the end, in
        whichever order the array and its lanes add.

        Raises
        ------
        InputError
            If a digit is out of range.
        """
        a, b = self._checked("A", a), self._checked("B", b)
        for name, high in (("A", corrections.a), ("B", corrections.b)):
            self._checked(name, high.digits.values)
        low = shortcut.product(a, b).to(torch.int64)
        return shortcut.wrapped(low + corrected_by(a.values, b.values, corrections), self._datapath)

    def corrected_cost(self, spec: GemmSpec, corrections: Corrections) -> Cost:
        """Predict what a GEMM costs with what the lanes add (``docs/emulator.md``)."""
        return self._model.product(spec.n, spec.d, spec.h, corrections)

    def how(self, a: Tensor | Prepared, b: Tensor | Prepared) -> str:
        """Return how `multiply` computes a product, and which table it uses."""
        x, y = (self._checked(n, self._ready(o).operands[0]) for n, o in (("A", a), ("B", b)))
        if self._table is not None:
            return f"every step, products from {self._table.source}"
        if not self._order_is_free(x, y) and self._may_overflow(x, y):
            return "every step"
        return shortcut.kernel(x, y)

    def cost(self, spec: GemmSpec) -> Cost:
        """Predict cycles, area and energy of a GEMM on the array (``docs/emulator.md``)."""
        return self._model.product(spec.n, spec.d, spec.h)

    def shift_add_cost(self, count: int) -> Cost:
        """Predict the shift-adders alone, one behind every column of the array."""
        return self._model.unpacking(UnpackWork(count))

    def unpack_cost(self, work: UnpackWork) -> Cost:
        """Predict the shift-adders, one behind every column, and the pass over the operands."""
        return self._model.unpacking(work)

    def _checked(self, name: str, operand: Tensor | Digits) -> Digits:
        digits = operand if isinstance(operand, Digits) else self.prepare(operand)
        allowed = self._digits["AB".index(name)]
        if digits.low < allowed.low or digits.high > allowed.high:
            kind = "" if allowed.signed else "unsigned "
            raise InputError(
                f"{name} holds digits from {digits.low} to {digits.high}, outside the "
                f"{kind}{allowed.bits}-bit range from {allowed.low} to {allowed.high}"
            )
        return digits

    def _report(self, a: Digits, b: Digits) -> tuple[Tensor, OverflowReport]:
        if self._table is None and not self._may_overflow(a, b):
            return shortcut.product(a, b), OverflowReport(0)
        shape = a.values.shape
        pairs = list(zip(matrices(a.values), matrices(b.values), strict=True))
        if not pairs:
            empty = torch.zeros((*shape[:-1], b.values.shape[-2]), dtype=torch.int64, device="cpu")
            return empty.to(a.values.device), OverflowReport(0)
        results = [self._accumulate(x, y) for x, y in pairs]
        report = summed([report for _, report in results], shape)
        if report.count and self.accumulator.overflow == "error":
            raise AccumulatorOverflow(report)
        return unflattened([product for product, _ in results], shape), report

    def _accumulate(self, a: Tensor, b: Tensor) -> tuple[Tensor, OverflowReport]:
        table = None
        if self._table is not None:
            table = self._table.products.to(a.device)
            a, b = (
                (x.to(torch.int16) - digit.low).to(torch.uint8)
                for x, digit in zip((a, b), self._digits, strict=True)
            )
        if a.device.type == "cpu":
            return compiled.accumulate(a, b, table, self._largest_product, self._datapath)
        products = stepwise.multiplier(a, b, table)
        shape = (len(a), len(b))
        return stepwise.accumulate(products, a.shape[1], shape, self._datapath, a.device)

    def _order_is_free(self, a: Digits, b: Digits) -> bool:
        """Return whether any order of summation gives the same result."""
        return self.accumulator.overflow == "wrap" or self._fits(a, b)

    def _fits(self, a: Digits, b: Digits) -> bool:
        d = a.values.shape[-1]
        return self._datapath.cannot_overflow(d, a.largest * b.largest)

    def _may_overflow(self, a: Digits, b: Digits) -> bool:
        """Bound every partial sum: by the largest digits first, then by the absolute products."""
        if self._fits(a, b):
            return False
        x, y = (Digits.of(o.values.to(torch.int32).abs()) for o in (a, b))
        largest = Digits.of(shortcut.product(x, y)).largest
        registers = [self._datapath.inner, self._datapath.result]
        return largest > min(register.maximum for register in registers)


_UNSIGNED_TYPES = {torch.uint8: torch.int16, torch.uint16: torch.int32}


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")


def _widths(
    bits: int | Sequence[int] | None, multiplier: str, table: Table | None
) -> int | tuple[int, int]:
    widest = WIDEST if multiplier == "exact" else WIDEST_TABLE
    if bits is None:
        if table is None:
            return widest
        a, b = table.widths
        return a if a == b else (a, b)
    widths = (bits, bits) if isinstance(bits, int) else tuple(bits)
    if len(widths) != 2 or not all(2 <= width <= WIDEST for width in widths):
        raise ValueError(f"bits must be from 2 to {WIDEST}, or two such widths, got {bits!r}")
    if max(widths) > widest:
        raise ValueError(f"a multiplier by table has at most {widest} bits, got bits {bits!r}")
    if table is not None and table.widths != widths:
        raise ValueError(f"the table's widths are {table.widths}, and bits is {bits!r}")
    return bits if isinstance(bits, int) else (widths[0], widths[1])
