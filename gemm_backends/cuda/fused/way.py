"""The common base of the two ways of a fused route: one run from operands to the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import round_up
from accelsim.kernels.launches import Arguments, Launch, LaunchList, Pointer, cleared, launch_now
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.kernels.recurring import Addresses, Recurring
from accelsim.measure.timing import Untimed
from accelsim.types import SIDES, Counts, PerOperand, Side, Timer
from gemm_backends.cuda.cutlass_kernels import DEQUANTIZING, HOPPER, kernel_for
from gemm_backends.cuda.cutlass_library import DigitGroups
from gemm_backends.cuda.fused.arguments import Conclude, Pack
from gemm_backends.cuda.fused.operand import ROW_MULTIPLE, Digits
from gemm_backends.cuda.fused.plan import TILE
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.rounder import Rounder
from gemm_backends.cuda.fused.rows import RowPass, fits_registers
from gemm_backends.cuda.fused.sides import FLAG_WORDS, FOUND_WORDS, Floats, Source
from gemm_backends.cuda.fused.status import LARGEST_SUM, PROVABLE_K, STATUS, Report, Status

PACK = CudaSource(CSRC / "pack.cu")

OUT_TYPES = {
    torch.float32: 0,
    torch.float16: 1,
    torch.bfloat16: 2,
    torch.int64: 3,
}
"""The numbers by which the kernels know the types of a result."""

Shape: TypeAlias = tuple[int, int, int, int]
Incoming: TypeAlias = Floats | FusedOperand


class Work(NamedTuple):
    """Operation counts of the products of a run.

    Parameters
    ----------
    tiles : int
        Tiles of K in all GEMMs.
    low_bit_macs : int
        Multiplications of digits, without those by the zeros that fill planes up.
    products : int
        GEMMs.
    listed : int
        Products of two high parts that were made one by one.
    copied_bytes : int
        Digits that are copies of others.
    """

    tiles: int
    low_bit_macs: int
    products: int = 1
    listed: int = 0
    copied_bytes: int = 0


class Way(ABC):
    """Buffers and kernels for runs of one shape by one plan.

    The launches of a run are made ready once: from run to run nothing but the addresses of new
    operands and of the result differ.

    Parameters
    ----------
    shape : tuple of int
        batch, n, d, h.
    status : Status
        Where the device concludes whether a run is exact.
    zeros : int
        32-bit words that a run begins with as zeros, beside those that every run needs.
    device : torch.device
        A CUDA device.
    wide : bool
        Whether sums have 64 bits.

    Attributes
    ----------
    dequantized : bool
        Whether the GEMM of the last run dequantized its sums itself, without writing them out.
    counts : Counts or None
        Of a run whose products were the planned ones alone.
    """

    clears: ClassVar[bool] = True
    """Whether its kernels begin with zeros."""

    def __init__(
        self, shape: Shape, status: Status, zeros: int, device: torch.device, wide: bool = False
    ) -> None:
        self.shape, self.status, self.wide, self._device = shape, status, wide, device
        # Facts about A and B, flags, and other buffers that are zero when a run begins.
        words = round_up(2 * FOUND_WORDS + FLAG_WORDS + 4, 16)
        self._zeros = torch.empty(words + zeros, dtype=torch.int32, device=device)
        self.found = PerOperand(
            self._zeros[:FOUND_WORDS], self._zeros[FOUND_WORDS : 2 * FOUND_WORDS]
        )
        self.flags = self._zeros[2 * FOUND_WORDS : 2 * FOUND_WORDS + FLAG_WORDS]
        nonfinite = self._zeros[2 * FOUND_WORDS + FLAG_WORDS :][:4].view(torch.int64)
        self._nonfinite_rows = PerOperand(nonfinite[:1], nonfinite[1:])
        self.own_zeros = self._zeros[words:]
        self.sides: PerOperand[Incoming]
        batch, n, d, h = shape
        rows, columns, _ = kernel_for(HOPPER, n, h, d, batch).tile
        self.padded = batch * round_up(n, rows) * round_up(h, columns)
        """Entries of C with those that whole tiles have besides."""
        self.dequantized = False
        self.counts: Counts | None = None
        self._queued: _Queued | None = None
        self._rounders_of_graphs: set[Rounder] = set()
        self._sums = torch.empty(0, device=device)
        self._beside = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
        self._second_stream: int = self._beside.cuda_stream
        self.events = [_event(self._beside), _event(self._beside)]

    def run(
        self,
        sides: PerOperand[Incoming],
        out: Tensor,
        timer: Timer,
        stream: int,
        capturing: bool,
    ) -> None:
        """Queue a run.

        Parameters
        ----------
        sides : PerOperand of Incoming
            New floats or prepared operands.
        out : Tensor
            ``[..., n, h]``, contiguous: floats, or int64 for the integers.
        timer : Timer
            Of the stages.
        stream : int
            The current stream, as CUDA knows it.
        capturing : bool
            Whether this is recorded for a CUDA graph, where nobody can repeat a run that is not
            exact.
        """
        self.sides = sides
        queued = self._queued
        if capturing or queued is None or not queued.suits(sides):
            queued = self._make(sides, out, capturing)
            self._queued = None if capturing else queued
        addresses = _address(sides.a), _address(sides.b), out.data_ptr()
        queued.point_to(addresses)
        beside = self._second_stream
        if capturing:
            # A graph knows addresses alone: what it rounds with stays as long as the way.
            self._rounders_of_graphs |= {
                x.rounder for x in (sides.a, sides.b) if isinstance(x, Floats)
            }
            queued.all.run(stream, beside)
            return
        self.status.begin()
        if isinstance(timer, Untimed):
            queued.recurring.run(stream, beside, addresses)
            return
        for name, launches in queued.stages.items():
            with timer.stage(name):
                launches.run(stream, beside)

    def in_one_pass(self, side: Side) -> bool:
        """Whether one pass over the rows of an operand finds their scales and writes the digits."""
        x = self.sides.of(side)
        return isinstance(x, Floats) and x.by_row and fits_registers(self.shape[2], x.x.dtype)

    def row_pass(self, side: Side) -> RowPass:
        """Return that pass."""
        x, (batch, n, d, h) = self.sides.of(side), self.shape
        assert isinstance(x, Floats), "prepared operands are written already"
        rows = batch * (n if side == "a" else h)
        return RowPass(x.rounder, rows, d)

    def nonfinite(self, side: Side) -> Tensor | None:
        """Return where it is found that a new operand has NaN or infinity."""
        x = self.sides.of(side)
        if isinstance(x, FusedOperand):
            return None
        return self._nonfinite_rows.of(side) if self.in_one_pass(side) else x.rounder.nonfinite

    @abstractmethod
    def unpack(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return what writes the digits of new operands, and `conclude`."""

    @abstractmethod
    def multiply(self, out: Tensor, capturing: bool) -> list[Launch]:
        """Return the products, into a result or into sums."""

    @abstractmethod
    def digits_of(self, side: Side) -> Digits:
        """Return the digits of an operand."""

    @abstractmethod
    def work(self, report: Report) -> Work:
        """Return the operation counts of the last run's products."""

    @abstractmethod
    def remultiply(self, report: Report, sums: Tensor) -> list[Launch]:
        """Return the products of the last run once more."""

    @abstractmethod
    def settle(self) -> None:
        """Record that the last run was exact."""

    def integers(self, report: Report) -> Tensor:
        """Return the integers of the last run, ``[batch, n, h]`` int64."""
        batch, n, _, h = self.shape
        out = torch.empty((batch, n, h), dtype=torch.int64, device=self._device)
        sums = self._create_sums()
        launches = [*self.remultiply(report, sums), self.pack(sums, out)]
        launch_now(launches, self._device)
        return out

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers, without the digits of prepared operands."""
        a, b = self.digits_of("a"), self.digits_of("b")
        sides = (self.sides.a, a), (self.sides.b, b)
        digits = sum(digits.nbytes for x, digits in sides if isinstance(x, Floats))
        return digits + self._zeros.nbytes + self._sums.nbytes

    def max_digits(self, report: Report) -> PerOperand[int]:
        """Return how many digits the largest entries of the last run need."""
        (a, b), (new_a, new_b) = (self.sides.a, self.sides.b), report.digits
        return PerOperand(
            a.count if isinstance(a, FusedOperand) else max(1, new_a),
            b.count if isinstance(b, FusedOperand) else max(1, new_b),
        )

    def out_of_bound(self, report: Report) -> PerOperand[int]:
        """Return how many entries of the last run need more than one digit."""
        (a, b), (new_a, new_b) = (self.sides.a, self.sides.b), report.beyond
        return PerOperand(
            a.beyond if isinstance(a, FusedOperand) else new_a,
            b.beyond if isinstance(b, FusedOperand) else new_b,
        )

    def forget(self) -> None:
        """Release the floats of the last run."""
        a, b = self.sides.a, self.sides.b
        self.sides = PerOperand(
            a.without_values() if isinstance(a, Floats) else a,
            b.without_values() if isinstance(b, Floats) else b,
        )

    def requeue(self) -> None:
        """Prepare the launches of the next run again."""
        self._queued = None

    def conclude(self, planned: tuple[int, int], dense: tuple[int, int], capturing: bool) -> Launch:
        """Return the conclusion: whether operands of these numbers of digits are exact in this run.

        Parameters
        ----------
        planned : tuple of int
            Digits of A and of B that the product takes.
        dense : tuple of int
            Those that the dense product behind the gate takes; 0 without one.
        capturing : bool
            Whether nobody can repeat the run.
        """
        facts: dict[str, object] = {}
        for side, digits, behind in zip(SIDES, planned, dense, strict=True):
            x = self.sides.of(side)
            facts |= {
                f"found_{side}": x.found if isinstance(x, FusedOperand) else self.found.of(side),
                f"nonfinite_{side}": self.nonfinite(side),
                f"scale_{side}": None if x.by_row else x.scale,
                f"planned_{side}": digits,
                f"dense_{side}": behind,
            }
        arguments = Conclude(
            **facts,
            flags=self.flags,
            limit=LARGEST_SUM[self.wide],
            provable=self.shape[2] <= PROVABLE_K,
            sticks=capturing,
            exponent=self.sides.a.exponent + self.sides.b.exponent,
            status=self.status.words,
            host=None if capturing else self.status.host,
        )
        return Launch(STATUS, "accelsim_conclude", self._device, arguments)

    def gemm(
        self,
        a: Digits,
        b: Digits,
        groups: DigitGroups,
        out: Tensor,
        gate: Tensor | None = None,
    ) -> Launch:
        """Return one product of digits into sums or, dequantized, into a result."""
        batch, n, d, h = self.shape
        kernel = DEQUANTIZING if out.dtype is torch.bfloat16 else kernel_for(HOPPER, n, h, d, batch)
        arguments = kernel.arguments(
            a.by_heads[:, :n],
            b.by_heads[:, : out.shape[2]],
            out,
            TILE * sum(segment.tiles for segment in groups.segments),
            scale=self.status.scale,
            groups=groups,
            gate=gate,
        )
        if kernel is DEQUANTIZING:
            for name, side in (("row_scales", self.sides.a), ("column_scales", self.sides.b)):
                setattr(arguments, name, side.scale.data_ptr() if side.by_row else None)
        return Launch(kernel.source, kernel.symbol, self._device, arguments)

    def pack(self, sums: Tensor, out: Tensor | Pointer, dtype: torch.dtype = torch.int64) -> Launch:
        """Return the conversion of sums into a result of a type."""
        batch, n, _, h = self.shape
        a, b = self.sides.a, self.sides.b
        arguments = Pack(
            sums=sums,
            wide=self.wide,
            stride=sums.shape[2],
            rows=batch * n,
            n=n,
            h=h,
            common=self.status.scale,
            row_scales=a.scale if a.by_row else None,
            column_scales=b.scale if b.by_row else None,
            out=out,
            type=OUT_TYPES[dtype],
        )
        return Launch(PACK, "accelsim_pack", self._device, arguments)

    def _make(self, sides: PerOperand[Incoming], out: Tensor, capturing: bool) -> _Queued:
        """Make the launches of a run ready."""
        batch, n, _, h = self.shape
        out = out.view(batch, n, h)
        pointers = PerOperand(Pointer(), Pointer())
        stages: dict[str, list[Launch]] = {}
        new: list[Source | None] = []
        zeros = [cleared(self._zeros)] if self.clears else []
        for side in SIDES:
            x, pointer = sides.of(side), pointers.of(side)
            if isinstance(x, Floats):
                new.append(x.source(pointer))
                if not self.in_one_pass(side):
                    searches = x.rounder.launches(pointer, x.kind, self.found.of(side))
                    stages.setdefault("quantize", zeros).extend(searches)
            else:
                new.append(None)
        first = [] if stages else zeros
        stages["unpack"] = [*first, *self.unpack(PerOperand(new[0], new[1]), capturing)]
        result = Pointer()
        self.dequantized = self._dequantizes(out)
        if self.dequantized:
            stages["gemm"] = self.multiply(out, capturing)
            for launch in stages["gemm"]:
                kind: Any = type(launch.arguments)
                if not issubclass(kind, Arguments):  # a product, which has a result C
                    result.fill(launch.arguments, kind.c.offset)
        else:
            self._sums = self._create_sums()
            stages["gemm"] = self.multiply(self._sums, capturing)
            stages["pack"] = [self.pack(self._sums, result, out.dtype)]
        return _Queued(sides, pointers, result, stages, self._device)

    def _dequantizes(self, out: Tensor) -> bool:
        return out.dtype is torch.bfloat16 and out.shape[2] % 8 == 0 and not self.wide

    def _create_sums(self) -> Tensor:
        batch, n, _, h = self.shape
        shape = batch, n, round_up(h, ROW_MULTIPLE)
        if self._sums.shape == shape:
            return self._sums
        dtype = torch.int64 if self.wide else torch.int32
        return torch.empty(shape, dtype=dtype, device=self._device)


class _Queued:
    """The launches of a run, all together and by stage.

    Parameters
    ----------
    sides : PerOperand of Incoming
        What they are for: prepared operands themselves, and floats with these rounders.
    pointers : PerOperand of Pointer
        Where new floats are.
    result : Pointer
        Where the result goes.
    stages : dict
        The launches by the name of their stage, in order.
    device : torch.device
        A CUDA device.
    """

    def __init__(
        self,
        sides: PerOperand[Incoming],
        pointers: PerOperand[Pointer],
        result: Pointer,
        stages: dict[str, list[Launch]],
        device: torch.device,
    ) -> None:
        self._origins = _origin(sides.a), _origin(sides.b)
        self._pointers = pointers.a, pointers.b, result
        self._addresses: Addresses = ()
        self.stages = {name: LaunchList(launches, device) for name, launches in stages.items()}
        self.all = LaunchList([x for launches in stages.values() for x in launches], device)
        self.recurring = Recurring(self.all)

    def point_to(self, addresses: Addresses) -> None:
        """Write the addresses of new operands and of the result into the launches."""
        if addresses != self._addresses:
            for pointer, address in zip(self._pointers, addresses, strict=True):
                pointer.set(address)
            self._addresses = addresses

    def suits(self, sides: PerOperand[Incoming]) -> bool:
        """Whether a run of these operands has the same launches."""
        a, b = self._origins
        return _origin(sides.a) is a and _origin(sides.b) is b


def _address(x: Incoming) -> int:
    return x.x.data_ptr() if isinstance(x, Floats) else 0


def _origin(x: Incoming) -> object:
    return x.rounder if isinstance(x, Floats) else x


def _event(stream: torch.cuda.Stream) -> torch.cuda.Event:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(stream)  # an event exists from then on
    return event
