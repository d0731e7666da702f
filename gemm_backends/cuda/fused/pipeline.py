"""The whole way on an NVIDIA GPU: floats in, exact integers inside, floats out.

One dense int8 product carries all the work. Entries that do not fit 8 bits have their high digits
in columns of their own (`layout`): heavy columns in the same ones in all rows, the
others in ones that every block of rows uses for other columns of K. The GEMM takes K from where it
lies for the tile of C at hand, and weighs the digits by shifting its accumulators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelsim.errors import AccelsimError
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.kernels.select import TYPES
from accelsim.types import PerOperand
from gemm_backends.cuda.cutlass_kernels import DEQUANTIZING, HOPPER, select
from gemm_backends.cuda.fused.inputs import check_operands, check_report, rounded
from gemm_backends.cuda.fused.layout import digit_groups, layouts
from gemm_backends.cuda.fused.operand import HIGH_PARTS, ROW_MULTIPLE, Operand
from gemm_backends.cuda.fused.plan import TILE, TILE_OF_C, Plan, make_plan
from gemm_backends.cuda.fused.slots import Slots

PACK = CudaSource(CSRC / "pack.cu")
INT64_TYPE = 3

FLAGS = {
    1: "a row has more entries beyond 8 bits than its list holds",
    2: "more columns have entries beyond 8 bits than were planned",
    4: "an entry beyond 8 bits needs more digits than were planned",
    8: "the norms of the operands do not prove that every sum fits 32 bits",
    16: "a tile of the result has more products of two high parts than were planned",
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
        check_operands(a, b)
        self._a, self._b, self.prepared = a, b, prepared
        self.shape = n, d, h = a.shape[0], a.shape[1], b.shape[0]
        device = a.device
        sample = [
            rounded(x, p, r, name)
            for x, p, r, name in (
                (a, percentile.a, beta.a, "A"),
                (b, percentile.b, beta.b, "B"),
            )
        ]
        self.plan = plan = plan or make_plan(sample[0], sample[1], prepared)
        tiles = [-(-rows // size) for rows, size in zip((n, h), TILE_OF_C, strict=True)]
        # What a run begins with as zeros: lists of products of high parts for each tile of C, how
        # many each has, and flags.
        count = tiles[0] * tiles[1]
        listed = 2 * count * plan.cross_length
        self._zeros = torch.zeros(listed + count + 1, dtype=torch.int32, device=device)
        self._cross_counts, self._flags = self._zeros[listed:-1], self._zeros[-1]
        self._tiles_across = tiles[1]
        layout_a, layout_b = layouts(plan, n, d, h)
        ahead, listed_together = plan.surveyed, plan.cross_length > 0
        self.a = Operand(a, percentile.a, beta.a, layout_a, self._flags, ahead, chained=False)
        self.b = Operand(
            b, percentile.b, beta.b, layout_b, self._flags, ahead and not prepared, listed_together
        )
        self._groups = digit_groups(layout_a, layout_b)
        if plan.cross_length:
            lists = self._zeros[:listed].view(count, plan.cross_length, 2)
            self._groups = replace(self._groups, corrections=lists)
        self._slots = Slots(plan, self.a, self.b, self._flags) if plan.slot_tiles else None
        self._slot_of = self._slots.of if self._slots else None
        self._side = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
        self._inverse = torch.zeros((), dtype=torch.float64, device=device)
        self._sums = torch.empty(0, device=device)
        self.out = torch.empty((n, h), dtype=a.dtype, device=device)
        self._fused = a.dtype is torch.bfloat16 and h % 8 == 0
        if not self._fused:
            self._sums = self._empty_sums()
        if prepared:
            self.b.select(b)
            self.b.split(b, None)
            if not self._slots:
                self._write_high_digits_of_b()
            self._raise_flags()

    @property
    def low_bit_macs(self) -> int:
        """Low-bit multiplications of the last run."""
        n, d, h = self.shape
        columns = d + TILE * sum(self._groups.high_tiles)
        return n * h * columns + int(self._cross_counts.sum())

    def run(self) -> None:
        """Queue the whole computation on the current stream; `out` holds its result."""
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
            check_report(operand.selector.report(), operand.selector.count, name)
        self._raise_flags()

    def integers(self) -> Tensor:
        """Return the exact integers of the last run, ``[n, h]`` int64."""
        n, _, h = self.shape
        self._sums = self._empty_sums()
        self._multiply()
        out = torch.empty((n, h), dtype=torch.int64, device=self._a.device)
        self._pack(out, INT64_TYPE)
        return out

    def stages(self) -> list[Stage]:
        """Return what `run` queues, part by part, with its floors."""
        n, d, h = self.shape
        size = self._a.element_size()
        dynamic = [(self.a, self._a)] if self.prepared else [(self.a, self._a), (self.b, self._b)]

        def selects() -> None:
            for operand, x in dynamic:
                operand.select(x)

        def unpacks() -> None:
            self._zeros.zero_()
            if self._slots and self.plan.surveyed:
                self._slots.survey(dynamic)
            for operand, x in dynamic:
                operand.split(x, self._slot_of)
            self._extend()

        entries = sum(x.numel() for _, x in dynamic)
        copies = sum(x.layout.copied_tiles * TILE * x.rows for x in (self.a, self.b))
        macs = n * h * (d + TILE * sum(self._groups.high_tiles))
        stages = [
            Stage("quantize", selects, entries * size),
            Stage("unpack", unpacks, entries * (size + 1) + copies),
        ]
        if self._fused:
            return [*stages, Stage("gemm", self._multiply_dequantized, macs=macs)]
        pack = Stage(
            "pack", lambda: self._pack(self.out, TYPES[self.out.dtype]), n * h * (4 + size)
        )
        return [*stages, Stage("gemm", self._multiply, macs=macs), pack]

    def _extend(self) -> None:
        """Write high digits, and copy low ones for them to be multiplied with."""
        a, b, device = self.a, self.b, self._a.device
        if self._slots:
            self._slots.assign()
        if not self.prepared or self._slots:
            self._write_high_digits_of_b()
        # A's copies wait for nothing that is still to be done for A: they are made beside it.
        current = torch.cuda.current_stream(device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            self._write_high_digits_of_a()
            HIGH_PARTS.launch(
                "accelsim_prove",
                device,
                a.largest_square,
                b.largest_square,
                a.selector.scale,
                b.selector.scale,
                self._inverse,
                self._flags,
            )
        a.gather()
        current.wait_stream(self._side)
        b.gather()

    def _write_high_digits_of_a(self) -> None:
        a, b = self.a, self.b
        a.assign_places(self._slot_of, b)
        lists = self._groups.corrections
        if lists is None:
            a.fill(self._slot_of)
        else:
            a.fill(
                self._slot_of, b.lists, b.layout.own.list_length, b.chains, b.next,
                self._cross_counts, lists, lists.shape[1], self._tiles_across,
            )  # fmt: skip

    def _write_high_digits_of_b(self) -> None:
        self.b.assign_places(self._slot_of, self.a)
        self.b.fill(self._slot_of)

    def _multiply(self) -> None:
        n, d, h = self.shape
        self._gemm(select(HOPPER, n, h, d, 1), self._sums)

    def _multiply_dequantized(self) -> None:
        self._gemm(DEQUANTIZING, self.out)

    def _gemm(self, kernel: Callable[..., None], out: Tensor) -> None:
        kernel(
            self.a.digits[: self.shape[0]].unsqueeze(0),
            self.b.digits.unsqueeze(0),
            out.unsqueeze(0),
            TILE * sum(segment.tiles for segment in self._groups.segments),
            inverse_scale=self._inverse,
            groups=self._groups,
        )

    def _pack(self, out: Tensor, out_type: int) -> None:
        n, _, h = self.shape
        lists = self._groups.corrections
        if lists is not None:
            PACK.launch(
                "accelsim_correct",
                out.device,
                self._sums,
                self._sums.stride(0),
                lists.shape[0],
                self._tiles_across,
                lists,
                lists.shape[1],
            )
        PACK.launch(
            "accelsim_pack",
            out.device,
            self._sums,
            self._sums.stride(0),
            n,
            h,
            self._inverse,
            out,
            out_type,
        )

    def _raise_flags(self) -> None:
        found = int(self._flags)
        reasons = [reason for bit, reason in FLAGS.items() if found & bit]
        if reasons:
            raise PlanExceededError("; ".join(reasons))

    def _empty_sums(self) -> Tensor:
        n, _, h = self.shape
        return torch.empty((n, _up(h, ROW_MULTIPLE)), dtype=torch.int32, device=self._a.device)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
