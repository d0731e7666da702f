"""The reference backend: every product exact in 64 bits."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.base import GemmBackend
from gemm_backends.cpu.exact import exact_product
from gemm_backends.cpu.sparse import sparse_product
from gemm_backends.types import Accumulator, Availability


class Int64(GemmBackend):
    """Digits of up to 16 bits, summed in 64: the reference that others are compared with.

    The products are computed by floating-point matrix multiplications over slices of K that are
    proved exact (`exact_product`), because torch's own int64 product is some 50 times slower.
    """

    name = "int64"
    bits = 16
    accumulator = Accumulator(bits=64, overflow="wrap")
    batched = True

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int64."""
        return exact_product(a, b)

    def sparse_matmul(self, a: SparseDigits, b: Tensor | SparseDigits) -> Tensor:
        """Multiply ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int64."""
        return sparse_product(a, b, torch.int64)

    def availability(self) -> Availability:
        """Report that this runs anywhere, in software."""
        return Availability(available=True, execution="emulated")
