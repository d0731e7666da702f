"""The whole way on an NVIDIA GPU: floats in, exact integers inside, floats out.

One dense int8 product of the low digits carries the work. The entries that do not fit 8 bits are
added to it in one of two ways. Columns of A with many of them (heavy channels) get columns of high
digits in front of K, which the GEMM weighs by shifting its accumulators once. All others are
multiplied one by one (the block strategy at t = 1) by the kernel that reads the sums back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.errors import AccelsimError, DataError, InputError
from accelsim.gpu.operand import ROW_MULTIPLE, SOURCE, TILE, Operand
from accelsim.gpu.plan import Plan, high_parts, make_plan
from accelsim.gpu.select import TYPES, Selector, round_to_integers
from accelsim.quantize import rank
from accelsim.types import PerOperand
from gemm_backends.cutlass_kernels import DEQUANTIZING, HOPPER, has_wgmma, select

INT64_TYPE = 3
DIGIT_BITS = 8
ENTRIES_AHEAD = 3
"""High parts of a row of B that the kernel reads whether they are there or not."""

COLUMN_GROUP = 128
"""Columns of C that share a width of B's high parts in the kernel."""

FLAGS = {
    1: "a row has more entries beyond 8 bits than its list holds",
    2: "entries beyond 8 bits lie outside the columns that were planned for them",
    4: "a heavy column's entry needs more digits than were planned",
    8: "the norms of the operands do not prove that every sum fits 32 bits",
}


class PlanExceededError(AccelsimError):
    """The operands of a run do not fit the plan; its result is not exact."""


@dataclass(frozen=True)
class Stage:
    """One timed part of a pipeline.

    Parameters
    ----------
    name : str
        As in a record's ``time_ms``.
    run : callable
        Queues its kernels.
    bytes_moved : int
        The fewest bytes it reads and writes.
    macs : int
        Multiplications on the Tensor Cores.
    """

    name: str
    run: Callable[[], None]
    bytes_moved: int = 0
    macs: int = 0


class Pipeline:
    """``C = A @ B.T`` for floats through exact integers, b = 8, on a Hopper GPU.

    `run` queues kernels and waits for nothing, so that it can be captured in a CUDA graph; `check`
    waits, and says whether the run was exact.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]``: float32, float16 or bfloat16 on a CUDA device, contiguous. Their
        memory is what `run` reads: new values go into it. They serve as the sample that the plan
        is made from, and the plan leaves room for what differs.
    percentile, beta : PerOperand of float
        Of the quantization (one scale per tensor).
    prepared : bool
        B is a weight: it is quantized and unpacked here, once, and `run` does A alone.
    plan : Plan, optional
        Instead of the one from the sample.

    Raises
    ------
    InputError
        If the GPU or an operand is not of this kind.
    DataError
        If an operand cannot be quantized, or too much of it is beyond 8 bits.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        percentile: PerOperand[float],
        beta: PerOperand[float],
        prepared: bool = True,
        plan: Plan | None = None,
    ) -> None:
        _check_operands(a, b)
        self._a, self._b, self.prepared = a, b, prepared
        device = a.device
        # Flags, then the largest sums of squares of A and of B: what a run resets, side by side.
        self._totals = torch.zeros(3, dtype=torch.int32, device=device)
        self._flags = self._totals[0]
        square_a, square_b = self._totals.view(torch.float32)[1:]
        integers = [
            _integers(x, p, r, name)
            for x, p, r, name in (
                (a, percentile.a, beta.a, "A"),
                (b, percentile.b, beta.b, "B"),
            )
        ]
        self.plan = plan = plan or make_plan(*integers)
        if plan.sparse and not prepared:
            raise InputError(
                "entries beyond 8 bits outside a few columns of A need a prepared B: "
                "the sparse product reads B transposed"
            )
        self.a = Operand(
            a, percentile.a, beta.a, plan.front, plan.list_length_a, plan.slot_tiles > 0, square_a,
            self._flags,
        )  # fmt: skip
        self.b = Operand(
            b, percentile.b, beta.b, plan.front, plan.list_length_b, False, square_b, self._flags
        )
        n, d, h = a.shape[0], a.shape[1], b.shape[0]
        self.shape = n, d, h
        self._slots = torch.full((d,), -1, dtype=torch.int32, device=device)
        self._columns = torch.zeros(
            max(1, plan.slot_tiles * TILE), dtype=torch.int32, device=device
        )
        self._inverse = torch.zeros((), dtype=torch.float64, device=device)
        self._sums = torch.empty(0, device=device)
        self.out = torch.empty((n, h), dtype=a.dtype, device=device)
        self._high_b: tuple[Tensor, Tensor] | None = None
        self._transposed_b: Tensor | None = None
        self._small_b = True
        self.b.select(b)
        self.b.split(b)
        if prepared and plan.sparse:
            self._prepare_sparse(integers[1])
        self._fused = not plan.sparse and a.dtype is torch.bfloat16 and h % 8 == 0
        if not self._fused:
            self._sums = self._empty_sums()

    @property
    def low_bit_macs(self) -> int:
        """Low-bit multiplications of the last run: dense ones, and those of listed digits."""
        n, d, h = self.shape
        lists = self.a.lists[..., 1]
        index = torch.arange(self.plan.list_length_a, device=lists.device)
        listed = torch.where(index < self.a.list_counts.unsqueeze(1), lists, 0)
        total = n * (d + self.plan.front) * h + _digits(listed) * h
        if self._high_b is not None:
            total += _digits(self._high_b[1][..., 1]) * n
        return total

    def run(self) -> None:
        """Queue the whole computation on the current stream; `out` holds its result."""
        self._totals[: 2 if self.prepared else 3].zero_()
        for stage in self.stages():
            stage.run()

    def capture(self) -> torch.cuda.CUDAGraph:
        """Return a CUDA graph of `run`."""
        stream = torch.cuda.Stream(self._a.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._a.device))
        with torch.cuda.stream(stream):
            self.run()
        torch.cuda.current_stream(self._a.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.run()
        return graph

    def check(self) -> None:
        """Wait for the last run, and see whether it was exact.

        Raises
        ------
        DataError
            If an operand held NaN or infinity, or its scale is undefined.
        PlanExceededError
            If the operands did not fit the plan.
        """
        for name, operand in (("A", self.a), ("B", self.b)):
            _check_report(operand.selector.report(), operand.selector.count, name)
        found = int(self._flags)
        reasons = [reason for bit, reason in FLAGS.items() if found & bit]
        if reasons:
            raise PlanExceededError("; ".join(reasons))

    def integers(self) -> Tensor:
        """Return the exact integers of the last run, ``[n, h]`` int64."""
        n, _, h = self.shape
        self._sums = self._empty_sums()
        self._multiply()
        if not self.plan.sparse:
            return self._sums[:, :h].to(torch.int64)
        out = torch.empty((n, h), dtype=torch.int64, device=self._a.device)
        self._combine(out, INT64_TYPE)
        return out

    def stages(self) -> list[Stage]:
        """Return what `run` queues, part by part, with its floors."""
        n, d, h = self.shape
        size = self._a.element_size()
        dynamic = [(self.a, self._a)] if self.prepared else [(self.a, self._a), (self.b, self._b)]

        def selects() -> None:
            for operand, x in dynamic:
                operand.select(x)

        def splits() -> None:
            for operand, x in dynamic:
                operand.split(x)
            self._extend()

        entries = sum(x.numel() for _, x in dynamic)
        macs = n * (d + self.plan.front) * h
        stages = [
            Stage("quantize", selects, entries * size),
            Stage("unpack", splits, entries * (size + 1)),
        ]
        if self._fused:
            return [*stages, Stage("gemm", self._multiply_dequantized, macs=macs)]
        pack = Stage(
            "pack", lambda: self._combine(self.out, TYPES[self.out.dtype]), n * h * (4 + size)
        )
        return [*stages, Stage("gemm", self._multiply, macs=macs), pack]

    def _extend(self) -> None:
        n, d, h = self.shape
        a, b, plan, device = self.a, self.b, self.plan, self._a.device
        if plan.slot_tiles:
            SOURCE.launch(
                "accelsim_assign",
                device,
                a.column_counts,
                d,
                plan.threshold,
                plan.slot_tiles * TILE,
                self._slots,
                self._columns,
            )
        SOURCE.launch(
            "accelsim_extend",
            device,
            a.digits,
            a.digits.stride(0),
            n,
            a.lists,
            plan.list_length_a,
            a.list_counts,
            self._slots,
            int(plan.sparse),
            b.digits,
            b.digits.stride(0),
            h,
            None if plan.sparse else b.list_counts,
            self._columns,
            plan.slot_tiles,
            plan.groups,
            a.largest_square,
            b.largest_square,
            a.selector.scale,
            b.selector.scale,
            self._inverse,
            self._flags,
        )

    def _multiply(self) -> None:
        n, _, h = self.shape
        self._gemm(select(HOPPER, n, h, 1), self._sums)

    def _multiply_dequantized(self) -> None:
        self._gemm(DEQUANTIZING, self.out)

    def _gemm(self, kernel: Callable[..., None], out: Tensor) -> None:
        tiles = self.plan.slot_tiles
        kernel(
            self.a.digits.unsqueeze(0),
            self.b.digits.unsqueeze(0),
            out.unsqueeze(0),
            self.a.digits.shape[1],
            inverse_scale=self._inverse,
            high_tiles=(tiles if self.plan.groups == 2 else 0, tiles),
            shift=DIGIT_BITS,
        )

    def _combine(self, out: Tensor, out_type: int) -> None:
        n, _, h = self.shape
        a, plan = self.a, self.plan
        widths, entries = self._high_b or (None, None)
        transposed = self._transposed_b
        SOURCE.launch(
            "accelsim_combine",
            out.device,
            self._sums,
            self._sums.stride(0),
            n,
            h,
            a.digits,
            a.digits.stride(0),
            a.padded,
            plan.slot_tiles,
            plan.groups if plan.slot_tiles else 0,
            self._slots,
            a.lists,
            plan.list_length_a,
            a.list_counts,
            transposed,
            int(transposed is not None and transposed.dtype is torch.int32),
            _up(h, ROW_MULTIPLE),
            widths,
            entries,
            int(self._small_b),
            self._inverse,
            out,
            out_type,
        )

    def _empty_sums(self) -> Tensor:
        n, _, h = self.shape
        return torch.empty((n, _up(h, ROW_MULTIPLE)), dtype=torch.int32, device=self._a.device)

    def _prepare_sparse(self, integers: Tensor) -> None:
        """Put the high parts of B's rows side by side, and write B transposed."""
        high = high_parts(integers)
        rows, columns = high.nonzero(as_tuple=True)
        h, d = integers.shape
        stride = _up(h, ROW_MULTIPLE)
        if rows.numel():
            counts = torch.bincount(rows, minlength=_up(h, COLUMN_GROUP))
            place = (
                torch.arange(rows.numel(), device=rows.device) - (counts.cumsum(0) - counts)[rows]
            )
            entries = torch.zeros(
                (max(ENTRIES_AHEAD, int(counts.max())), stride, 2),
                dtype=torch.int32,
                device=rows.device,
            )
            entries[place, rows] = torch.stack([columns, high[rows, columns]], dim=1).to(
                torch.int32
            )
            widths = counts.view(-1, COLUMN_GROUP).amax(dim=1).to(torch.int32)
            self._high_b = widths, entries
            self._small_b = int(entries[..., 1].abs().sum(dim=0).max()) < 256
        dtype = torch.int16 if int(integers.abs().max()) < 1 << 15 else torch.int32
        self._transposed_b = torch.zeros((d, stride), dtype=dtype, device=integers.device)
        self._transposed_b[:, :h] = integers.T


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _digits(high: Tensor) -> int:
    """Count the 8-bit digits that listed high parts need."""
    total = 0
    while bool((present := high != 0).any()):
        total += int(present.sum())
        high = high_parts(high)
    return total


def _check_operands(a: Tensor, b: Tensor) -> None:
    if not has_wgmma():
        raise InputError("the GPU pipeline needs compute capability 9.0 (Hopper)")
    for name, x in (("A", a), ("B", b)):
        if x.dtype not in TYPES or x.device.type != "cuda" or x.ndim != 2 or not x.numel():
            raise InputError(
                f"{name} must be a float32, float16 or bfloat16 matrix on a CUDA device, with "
                f"entries; got {x.dtype} {[*x.shape]} on {x.device}"
            )
        if not x.is_contiguous():
            raise InputError(f"{name} must be contiguous")
    if a.shape[1] != b.shape[1]:
        raise InputError(f"A {[*a.shape]} and B {[*b.shape]} differ in their last dimension")


def _integers(x: Tensor, percentile: float, beta: float, name: str) -> Tensor:
    selector = Selector(x.numel(), x.device)
    selector.run(x, rank(x.numel(), percentile), beta)
    report = selector.report()
    _check_report(report, x.numel(), name)
    return round_to_integers(x, report[1])


def _check_report(report: tuple[float, float, float, int | None], count: int, name: str) -> None:
    _, scale, largest, nonfinite = report
    if nonfinite is not None:
        raise DataError(f"{name}: entry {nonfinite} of {count} is NaN or infinite")
    if scale != scale or scale * largest >= 2**31:
        raise DataError(
            f"{name}: the scale is undefined or an entry reaches 2^31; raise the percentile"
        )
