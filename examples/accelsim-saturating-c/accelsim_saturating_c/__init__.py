"""An accelerator whose model is a C library, wrapped with ctypes."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from gemm_backends import Accumulator, Availability, GemmBackend, OverflowReport

__all__ = ["SaturatingC"]

LIBRARY = Path(__file__).with_name("libarray.so")


class SaturatingC(GemmBackend):
    """8-bit multipliers with an accumulator that saturates at every step, in C.

    Parameters
    ----------
    accumulator_bits : int
        Width of the accumulator, 8 to 32.
    """

    api_version = "1.0"
    name = "saturating-c"
    bits = 8
    accumulator = Accumulator(bits=24, overflow="saturate")

    def __init__(self, accumulator_bits: int = 24) -> None:
        if not 8 <= accumulator_bits <= 32:
            raise ValueError(f"accumulator_bits must be from 8 to 32, got {accumulator_bits}")
        self.accumulator = Accumulator(accumulator_bits, "saturate")

    def availability(self) -> Availability:
        """Say whether the library is there and can be loaded."""
        try:
            _library()
        except OSError as error:
            return Availability(False, f"{error}; install the package where a C compiler is")
        return Availability(available=True, execution="emulated")

    def prepare(self, digits: Tensor) -> Tensor:
        """Lay out the digits as C expects them: row by row, without gaps."""
        return digits.contiguous()

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply digits ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32."""
        return self.matmul_report(a, b)[0]

    def matmul_report(self, a: Tensor, b: Tensor) -> tuple[Tensor, OverflowReport]:
        """Multiply, and say at which steps the accumulator overflowed."""
        (n, d), h = a.shape, b.shape[0]
        product = torch.empty((n, h), dtype=torch.int32)
        found = _Report()
        _library().array_gemm(
            *(x.data_ptr() for x in (a, b, product)), n, d, h, self.accumulator.bits, found
        )
        first = (found.row, found.column, found.step) if found.count else None
        return product, OverflowReport(found.count, first)


class _Report(ctypes.Structure):
    """The struct ``overflow_report`` of the library."""

    _fields_ = [(name, ctypes.c_int64) for name in ("count", "row", "column", "step")]


@functools.cache
def _library() -> ctypes.CDLL:
    """Load the library at its first use, so that importing this module never fails."""
    library = ctypes.CDLL(str(LIBRARY))
    pointers, sizes = [ctypes.c_void_p] * 3, [ctypes.c_int64] * 3
    library.array_gemm.argtypes = [*pointers, *sizes, ctypes.c_int, ctypes.POINTER(_Report)]
    library.array_gemm.restype = None
    return library
