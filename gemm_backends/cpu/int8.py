"""The CPU's int8 product, ``torch._int_mm``, once it has proved itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from accelsim.arithmetic.bounds import largest
from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.base import GemmBackend
from gemm_backends.cpu.exact import exact_product
from gemm_backends.cpu.sparse import sparse_product
from gemm_backends.errors import BackendError
from gemm_backends.operands import each_matrix
from gemm_backends.types import Accumulator, Availability

NARROW = 64
"""Digits of B up to this magnitude are safe where u8 by s8 products are added in 16 bits."""

PROBES = ((1, 1, 1), (3, 1, 5), (64, 65, 1), (1, 577, 256), (61, 1021, 67), (256, 576, 512))
"""Shapes (n, d, h) of the products that are compared before the CPU is trusted."""

WRONG = "torch._int_mm gives wrong products on this CPU, even of split digits"

Method: TypeAlias = Literal["direct", "split"]


class CpuInt8(GemmBackend):
    """Int8 by int8 into int32 on the CPU.

    Without dot-product instructions that accumulate in 32 bits (VNNI, AMX), oneDNN's int8 product
    adds pairs of unsigned-by-signed products in 16 bits, which saturates on full-range operands
    without a warning. The backend therefore compares random full-range products with exact ones
    before it is used. If they differ it splits B into two matrices of half the range, whose pairs
    cannot saturate; if that differs too it is unavailable.

    With VNNI or AMX, ``torch._int_mm`` leaves its result uninitialised where strides do not tell
    the layout: for K = 1, for operands that are broadcast, and for a single row of A whose stride
    is not K, which torch calls contiguous all the same. With AVX-512 alone, a single row of B
    changes places with A, so that A would have to be split. Operands are therefore written row
    after row with strides that say so, and padded where K or the number of rows of B is 1.
    """

    name = "cpu-int8"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")
    batched = True

    def availability(self) -> Availability:
        """Return whether, and by what method, this CPU multiplies int8 exactly."""
        method = proven_method()
        if method is None:
            return Availability(False, WRONG)
        if method == "split":
            remark = "torch._int_mm saturates at 16 bits here: B is split into two products"
            return Availability(True, remark, execution="fallback")
        if not _has_dot_products():
            remark = "this CPU has no int8 dot-product instructions that torch uses"
            return Availability(True, remark, execution="fallback")
        return Availability(True, execution="native")

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int32.

        Raises
        ------
        BackendError
            If this CPU has no exact int8 product.
        """
        method = proven_method()
        if method is None:
            raise BackendError(WRONG)
        split = method == "split" and largest(b) > NARROW
        return each_matrix(_split_product if split else _product, a, b)

    def sparse_matmul(self, a: SparseDigits, b: Tensor | SparseDigits) -> Tensor:
        """Multiply ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32, by the CPU's vector units."""
        return sparse_product(a, b, torch.int32)


@functools.cache
def proven_method() -> Method | None:
    """Return the cheapest way of multiplying int8 that is exact on this CPU, or None."""
    if _agrees(_product, -128, 127):
        return "direct"
    if _agrees(_split_product, -128, 127) and _agrees(_product, -NARROW, NARROW):
        return "split"
    return None


def _product(a: Tensor, b: Tensor) -> Tensor:
    h, d = b.shape
    more_k, more_rows = int(d == 1), int(h == 1)
    if more_k or more_rows:
        a, b = pad(a, (0, more_k)), pad(b, (0, more_k, 0, more_rows))
    return torch._int_mm(_row_major(a), _row_major(b).T)[:, :h]


def _row_major(digits: Tensor) -> Tensor:
    """Return a matrix with the strides of its layout, along dimensions of one entry as well."""
    rows, d = digits.shape
    return digits.contiguous().as_strided((rows, d), (max(d, 1), 1))


def _split_product(a: Tensor, b: Tensor) -> Tensor:
    half = b >> 1
    return _product(a, half) + _product(a, b - half)


def _agrees(product: Callable[[Tensor, Tensor], Tensor], low: int, high: int) -> bool:
    generator = torch.Generator().manual_seed(0)
    for n, d, h in PROBES:
        a = torch.randint(-128, 128, (n, d), generator=generator, device="cpu").to(torch.int8)
        b = torch.randint(low, high + 1, (h, d), generator=generator, device="cpu").to(torch.int8)
        for digits in (b, torch.full_like(b, low), torch.full_like(b, high)):
            try:
                result = product(a, digits)
            except RuntimeError:
                return False
            if not torch.equal(result.to(torch.int64), exact_product(a, digits)):
                return False
    return True


def _has_dot_products() -> bool:
    return bool(torch.backends.mkldnn.enabled) and torch.cpu._is_vnni_supported()
