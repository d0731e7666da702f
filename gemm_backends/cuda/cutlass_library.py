"""The CUTLASS kernels in ``csrc``: what they take, how they are built and called."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import round_up
from accelsim.kernels.nvcc import CSRC, BuildError, CudaSource, architecture_of, missing_tools
from gemm_backends.actions import Outcome
from gemm_backends.types import Availability

ARCHITECTURES_VARIABLE = "ACCELSIM_CUDA_ARCHITECTURES"


HIGH_GROUPS = 3
SEGMENTS = 12


@dataclass(frozen=True)
class TileRun:
    """Tiles of K that lie side by side in the rows of A and B; all sizes in tiles of 128 digits.

    Parameters
    ----------
    tiles : int
        How many.
    a, b : int
        Where they begin.
    a_step : int
        How much further they begin in A for every 256 columns of C.
    b_step : int
        How much further they begin in B for every 256 rows of C.
    """

    tiles: int
    a: int
    b: int
    a_step: int = 0
    b_step: int = 0


@dataclass(frozen=True)
class DigitGroups:
    """The groups of digits of different weights in K, for kernels that support them.

    Parameters
    ----------
    high_tiles : tuple of int
        K begins with this many tiles of weight ``2**(3*shift)``, ``2**(2*shift)`` and ``2**shift``.
    shift : int
        Bits of a digit.
    segments : sequence of TileRun
        Where the tiles lie, in the order of K; `SEGMENTS` at most.
    corrections : Tensor, optional
        ``[tiles of C, room, 2]`` int32, for a dequantizing kernel: numbers to add to entries of C
        before. A row of a list is a place in the tile, row by row from 1, and the number; a place
        of 0 ends the list.
    """

    high_tiles: tuple[int, int, int]
    shift: int
    segments: Sequence[TileRun]
    corrections: Tensor | None = None


class _CSegment(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int32) for name in ("tiles", "a", "a_step", "b", "b_step"))


class GemmArguments(ctypes.Structure):
    """The arguments that ``csrc/gemm_arguments.h`` describes."""

    _fields_ = (
        ("a", ctypes.c_void_p),
        ("b", ctypes.c_void_p),
        ("c", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("row_strides", ctypes.c_int64 * 3),
        ("batch_strides", ctypes.c_int64 * 3),
        ("n", ctypes.c_int32),
        ("h", ctypes.c_int32),
        ("d", ctypes.c_int32),
        ("batch", ctypes.c_int32),
        ("sm_count", ctypes.c_int32),
        ("swizzle", ctypes.c_int32),
        ("columns", ctypes.c_int32 * 2),
        ("high_tiles", ctypes.c_int32 * HIGH_GROUPS),
        ("shift", ctypes.c_int32),
        ("segment_count", ctypes.c_int32),
        ("segments", _CSegment * SEGMENTS),
        ("corrections", ctypes.c_void_p),
        ("correction_room", ctypes.c_int32),
        ("gate", ctypes.c_void_p),
        ("row_scales", ctypes.c_void_p),
        ("column_scales", ctypes.c_void_p),
    )


CACHED = 25 << 20
"""Bytes of an operand that stay in the L2 cache while tiles read it: half of what an H100 has."""

MOST_PADDING = 1.03
"""How many more tiles a swizzle may make of a result."""


def stays_cached(n: int, h: int, row_bytes: int) -> bool:
    """Whether the L2 cache holds the operand of C's shorter side, along which tiles go."""
    return min(n, h) * row_bytes <= CACHED


def swizzle(tiles_down: int, tiles_across: int) -> int:
    """Return how many lines of tiles go side by side, so that they share what they read.

    CUTLASS's scheduler pads a result to whole lines of clusters, which have up to two tiles.
    """
    for lines in (8, 4, 2):
        padded = round_up(tiles_down, 2 * lines) * round_up(tiles_across, lines)
        if padded <= MOST_PADDING * tiles_down * tiles_across:
            return lines
    return 1


@dataclass(frozen=True)
class Kernel:
    """One compiled GEMM.

    Parameters
    ----------
    file : str
        Its source in ``csrc``.
    symbol : str
        Its entry point.
    tile : tuple of int
        Rows, columns and depth of C's tile that one thread block computes.
    least_tiles : int
        How many tiles a result must have for it to be the fastest.
    cached : bool
        Whether it is the fastest only where `stays_cached` holds.
    """

    file: str
    symbol: str
    tile: tuple[int, int, int]
    least_tiles: int = 0
    cached: bool = False

    @functools.cached_property
    def source(self) -> CudaSource:
        """The source to build."""
        return CudaSource(CSRC / self.file, cutlass=True)

    def __call__(
        self,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: int,
        elements_per_byte: int = 1,
        scale: Tensor | None = None,
        groups: DigitGroups | None = None,
        gate: Tensor | None = None,
    ) -> None:
        """Compute ``C = A @ B.T`` on the current stream.

        Parameters
        ----------
        a, b, c : Tensor
            ``[batch, rows, columns]`` on the GPU, the last stride 1, all other strides and the
            addresses multiples of 16 bytes.
        d : int
            Digits of K.
        elements_per_byte : int
            Digits in a byte of A and B.
        scale : Tensor, optional
            Two float64 on the GPU: by which a dequantizing kernel divides, and its inverse.
        groups : DigitGroups, optional
            The groups of digits in K; without it, of the rows of A and B as they are.
        gate : Tensor, optional
            int32 scalar on the GPU: where it is 0, nothing is done. For kernels that know groups.

        Raises
        ------
        CudaError
            If the kernel refuses or cannot be launched.
        """
        arguments = self.arguments(a, b, c, d, elements_per_byte, scale, groups, gate)
        self.launch(arguments, a.device)

    def launch(self, arguments: GemmArguments, device: torch.device) -> None:
        """Queue a product of what `arguments` returned, on the current stream."""
        self.source.launch(self.symbol, device, arguments)

    def arguments(
        self,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: int,
        elements_per_byte: int = 1,
        scale: Tensor | None = None,
        groups: DigitGroups | None = None,
        gate: Tensor | None = None,
    ) -> GemmArguments:
        """Return what the kernel takes; the parameters are those of a call."""
        batch, n, h = c.shape
        scales = (elements_per_byte, elements_per_byte, 1)
        strides = [
            (batch_stride * scale, row_stride * scale)
            for (batch_stride, row_stride), scale in zip(
                map(_strides, (a, b, c)), scales, strict=True
            )
        ]
        arguments = GemmArguments(
            a=a.data_ptr(),
            b=b.data_ptr(),
            c=c.data_ptr(),
            scale=None if scale is None else scale.data_ptr(),
            gate=None if gate is None else gate.data_ptr(),
            batch_strides=(ctypes.c_int64 * 3)(*(batch_stride for batch_stride, _ in strides)),
            row_strides=(ctypes.c_int64 * 3)(*(row_stride for _, row_stride in strides)),
            n=n,
            h=h,
            d=d,
            batch=batch,
            sm_count=_sm_count(a.device),
            swizzle=self._swizzle(n, h, d // elements_per_byte),
            columns=(ctypes.c_int32 * 2)(d, d),
        )
        if groups:
            _describe(groups, arguments)
            arguments.columns = (ctypes.c_int32 * 2)(a.shape[2], b.shape[2])
        return arguments

    def _swizzle(self, n: int, h: int, row_bytes: int) -> int:
        if stays_cached(n, h, row_bytes):
            return 1
        return swizzle(-(-n // self.tile[0]), -(-h // self.tile[1]))


def _describe(groups: DigitGroups, arguments: GemmArguments) -> None:
    arguments.high_tiles = (ctypes.c_int32 * HIGH_GROUPS)(*groups.high_tiles)
    arguments.shift = groups.shift
    arguments.segment_count = len(groups.segments)
    arguments.segments = (_CSegment * SEGMENTS)(*(_CSegment(**vars(s)) for s in groups.segments))
    if groups.corrections is not None:
        arguments.corrections = groups.corrections.data_ptr()
        arguments.correction_room = groups.corrections.shape[1]


def _strides(x: Tensor) -> tuple[int, int]:
    """Return the strides of matrices and rows; where there is one, PyTorch's may be anything."""
    batch, rows, columns = x.shape
    row_stride = x.stride(1) if rows > 1 else round_up(columns, 16)
    return (x.stride(0) if batch > 1 else round_up(rows * row_stride, 16)), row_stride


def cuda_availability(capability: tuple[int, int]) -> Availability:
    """Report whether there is a GPU of at least this capability, with the tools to build for it."""
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} is built without CUDA; install a CUDA build of it"
        return Availability(False, reason, device="cuda")
    if not torch.cuda.is_available():
        return Availability(False, "torch finds no CUDA device", device="cuda")
    if torch.cuda.get_device_capability() < capability:
        name, wanted = torch.cuda.get_device_name(), "{}.{}".format(*capability)
        reason = f"{name} is older than compute capability {wanted}"
        return Availability(False, reason, device="cuda")
    missing = missing_tools(cutlass=True)
    return Availability(not missing, missing, "native", "cuda")


def build_outcomes(
    sources: Sequence[CudaSource], architectures: Sequence[str]
) -> Iterator[Outcome]:
    """Build every source for every architecture, one build per processor at a time."""
    jobs = [(source, architecture) for source in sources for architecture in architectures]
    with ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1) or 1) as pool:
        yield from pool.map(lambda job: _outcome(*job), jobs)


def wanted_architectures() -> tuple[str, ...]:
    """Return what to build for: ``$ACCELSIM_CUDA_ARCHITECTURES``, or the GPUs of this machine."""
    named = os.environ.get(ARCHITECTURES_VARIABLE, "").replace(",", " ").split()
    if named:
        return tuple(dict.fromkeys(named))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = (architecture_of(torch.cuda.get_device_capability(index)) for index in range(count))
    return tuple(dict.fromkeys(found))


def _outcome(source: CudaSource, architecture: str) -> Outcome:
    name, start = f"{source.path.name} for {architecture}", perf_counter()
    try:
        library = source.library(architecture)
        ready = library.exists()
        source.build(architecture)
    except BuildError as error:
        return Outcome(name, "failed", str(error), perf_counter() - start)
    seconds = perf_counter() - start
    how = "was built before" if ready else f"built in {seconds:.0f} s"
    return Outcome(name, "passed", f"{how}: {library.name}", seconds)


@functools.cache
def _sm_count(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
