"""What the two ways of a fused route have in common: one run from operands to the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.types import PerOperand, Timer
from gemm_backends.cuda.cutlass_kernels import DEQUANTIZING, HOPPER, select
from gemm_backends.cuda.cutlass_library import DigitGroups, GemmArguments, Kernel
from gemm_backends.cuda.fused.operand import ROW_MULTIPLE, Digits
from gemm_backends.cuda.fused.plan import TILE
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.sides import FOUND_WORDS, Floats
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


@dataclass(frozen=True)
class Work:
    """What the products of a run take.

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


@dataclass(frozen=True)
class _Product:
    """One GEMM of a way; it keeps its groups, by whose identity it is found."""

    kernel: Kernel
    arguments: GemmArguments
    groups: DigitGroups


class Way(ABC):
    """Buffers and kernels for runs of one shape by one plan.

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
    """

    def __init__(
        self, shape: Shape, status: Status, zeros: int, device: torch.device, wide: bool = False
    ) -> None:
        self.shape, self.status, self.wide, self._device = shape, status, wide, device
        # What a run finds in A and in B, its flags, and what else it begins with as zeros.
        words = 2 * FOUND_WORDS + FOUND_WORDS
        self._zeros = torch.empty(words + zeros, dtype=torch.int32, device=device)
        self.found = PerOperand(self._zeros[:4], self._zeros[4:8])
        self.flags = self._zeros[8:9]
        self.own_zeros = self._zeros[words:]
        self.sides: PerOperand[Incoming]
        self._products: dict[tuple[int, bool, bool], _Product] = {}
        self._sums = torch.empty(0, device=device)
        self.dequantized = False

    def run(self, sides: PerOperand[Incoming], out: Tensor, timer: Timer, capturing: bool) -> None:
        """Queue a run.

        Parameters
        ----------
        sides : PerOperand of Incoming
            New floats or prepared operands.
        out : Tensor
            ``[batch, n, h]``, contiguous: floats, or int64 for the integers.
        timer : Timer
            Of the stages.
        capturing : bool
            Whether this is recorded for a CUDA graph, where nobody can repeat a run that is not
            exact.
        """
        self.sides = sides
        new = [
            (x, found)
            for x, found in ((sides.a, self.found.a), (sides.b, self.found.b))
            if isinstance(x, Floats)
        ]
        with _stage(timer, "quantize", bool(new)):
            self._zeros.zero_()
            for x, found in new:
                x.rounder.run(x.x, found)
        with timer.stage("unpack"):
            self.unpack(capturing)
        if not capturing:
            self.status.fetch()
        fused = self.dequantized = self._dequantizes(out)
        with timer.stage("gemm"):
            self.multiply(out if fused else self._sums_for(out), capturing)
        if not fused:
            with timer.stage("pack"):
                self.pack(out)

    @abstractmethod
    def unpack(self, capturing: bool) -> None:
        """Queue what writes the digits, and `conclude`."""

    @abstractmethod
    def multiply(self, out: Tensor, capturing: bool) -> None:
        """Queue the products, into a result or into sums."""

    @abstractmethod
    def work(self, report: Report) -> Work:
        """Return what the products of the last run took."""

    @abstractmethod
    def max_digits(self, report: Report) -> PerOperand[int]:
        """Return how many digits the largest entries of the last run need."""

    @abstractmethod
    def out_of_bound(self, report: Report) -> PerOperand[int]:
        """Count the entries of the last run that need more than one digit."""

    @abstractmethod
    def remultiply(self, report: Report, sums: Tensor) -> None:
        """Queue the products of the last run once more."""

    @abstractmethod
    def settle(self) -> None:
        """Take note that the last run was exact."""

    def integers(self, report: Report) -> Tensor:
        """Return the integers of the last run, ``[batch, n, h]`` int64."""
        batch, n, _, h = self.shape
        out = torch.empty((batch, n, h), dtype=torch.int64, device=self._device)
        self.remultiply(report, self._sums_for(out))
        self.pack(out)
        return out

    def forget(self) -> None:
        """Let go of the floats of the last run."""
        self.sides = self.sides.map(lambda x: x.without_values() if isinstance(x, Floats) else x)

    def conclude(self, planned: tuple[int, int], dense: tuple[int, int], capturing: bool) -> None:
        """Queue the conclusion: whether operands of so many digits are exact in this run.

        Parameters
        ----------
        planned : tuple of int
            Digits of A and of B that the product takes.
        dense : tuple of int
            Those that the dense product behind the gate takes; 0 without one.
        capturing : bool
            Whether nobody can repeat the run.
        """
        facts: list[object] = []
        for x, found, digits, behind in zip(
            (self.sides.a, self.sides.b), (self.found.a, self.found.b), planned, dense, strict=True
        ):
            scale = None if x.by_row else x.scale
            if isinstance(x, Floats):
                facts += [found, x.rounder.nonfinite, scale, digits, behind]
            else:
                facts += [x.found, None, scale, digits, behind]
        STATUS.launch(
            "accelsim_conclude",
            self._device,
            *facts,
            self.flags,
            LARGEST_SUM[self.wide],
            self.shape[2] <= PROVABLE_K,
            capturing,
            self.sides.a.exponent + self.sides.b.exponent,
            self.status.words,
        )

    def gemm(
        self,
        a: Digits,
        b: Digits,
        groups: DigitGroups,
        out: Tensor,
        gate: Tensor | None = None,
    ) -> None:
        """Queue one product of digits into sums or, dequantized, into a result.

        All but the place of the result is the same whenever the same `groups` come.
        """
        batch, n, d, h = self.shape
        fused = out.dtype is not torch.int32
        key = id(groups), fused, gate is None
        if key not in self._products:
            kernel = DEQUANTIZING if fused else select(HOPPER, n, h, d, batch)
            arguments = kernel.arguments(
                a.by_heads[:, :n],
                b.by_heads[:, : out.shape[2]],
                out,
                TILE * sum(segment.tiles for segment in groups.segments),
                scale=self.status.scale,
                groups=groups,
                gate=gate,
            )
            self._products[key] = _Product(kernel, arguments, groups)
        product = self._products[key]
        product.arguments.c = out.data_ptr()
        product.kernel.launch(product.arguments, out.device)

    def pack(self, out: Tensor) -> None:
        """Queue the conversion of the sums."""
        batch, n, _, h = self.shape
        PACK.launch(
            "accelsim_pack",
            self._device,
            self._sums,
            self.wide,
            self._sums.shape[2],
            batch * n,
            n,
            h,
            self.status.scale,
            *(x.scale if x.by_row else None for x in (self.sides.a, self.sides.b)),
            out,
            OUT_TYPES[out.dtype],
        )

    def _dequantizes(self, out: Tensor) -> bool:
        by_row = self.sides.a.by_row or self.sides.b.by_row
        return (
            out.dtype is torch.bfloat16 and out.shape[2] % 8 == 0 and not by_row and not self.wide
        )

    def _sums_for(self, out: Tensor) -> Tensor:
        batch, n, h = out.shape
        shape = batch, n, -(-h // ROW_MULTIPLE) * ROW_MULTIPLE
        if self._sums.shape != shape:
            dtype = torch.int64 if self.wide else torch.int32
            self._sums = torch.empty(shape, dtype=dtype, device=self._device)
        return self._sums


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _stage(timer: Timer, name: str, exists: bool) -> AbstractContextManager[object]:
    return timer.stage(name) if exists else _Nothing()
