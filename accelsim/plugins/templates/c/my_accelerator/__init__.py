"""The accelerator my-accelerator: a C library, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from gemm_backends import Accumulator, Availability, GemmBackend

__all__ = ["MyAccelerator"]

LIBRARY = Path(__file__).with_name("libgemm.so")


class MyAccelerator(GemmBackend):
    """8-bit multipliers with 32-bit accumulators, in C."""

    api_version = "1.1"
    name = "my-accelerator"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def availability(self) -> Availability:
        """Report whether the library exists and can be loaded."""
        try:
            _library()
        except OSError as error:
            return Availability(False, f"{error}; install the package where a C compiler is")
        # "emulated" marks times with a star, as those of a model in software; write "native" once
        # this code itself is what is to be timed.
        return Availability(available=True, execution="emulated")

    def prepare(self, digits: Tensor) -> Tensor:
        """Lay out the digits as C expects them: row by row, without gaps."""
        return digits.contiguous()

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply digits ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32.

        ctypes releases Python's lock during the call, so that threads run side by side.
        """
        (n, d), h = a.shape, b.shape[0]
        product = torch.empty((n, h), dtype=torch.int32, device="cpu")
        _library().my_accelerator_gemm(a.data_ptr(), b.data_ptr(), product.data_ptr(), n, d, h)
        return product


@functools.cache
def _library() -> ctypes.CDLL:
    """Load the library at its first use, so that importing this module never fails."""
    library = ctypes.CDLL(str(LIBRARY))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.my_accelerator_gemm.argtypes = [pointer, pointer, pointer, size, size, size]
    library.my_accelerator_gemm.restype = None
    return library
