"""Exact products by matrix multiplication, for sums whose order is proved not to matter."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from gemm_backends.base import GemmBackend
from gemm_backends.cpu.exact import exact_product
from gemm_backends.cpu.int8 import CpuInt8
from gemm_backends.cuda.int8 import CudaInt8
from gemm_backends.datapath import Datapath
from gemm_backends.types import Accumulator

INT32 = 1 << 31


@dataclass(frozen=True)
class Digits:
    """One operand with the range of its digits, which the shortcuts depend on.

    Parameters
    ----------
    values : Tensor
        ``[..., rows, d]`` signed integers of at most 32 bits.
    low, high : int
        The smallest and the largest digit; 0 where there is none.
    """

    values: Tensor
    low: int
    high: int

    @classmethod
    def of(cls, values: Tensor) -> Digits:
        """Find the range."""
        if values.numel() == 0:
            return cls(values, 0, 0)
        low, high = torch.stack(values.aminmax()).tolist()
        return cls(values, low, high)

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(-self.low, self.high)

    def block(self, k: slice) -> Digits:
        """Return some columns; the range may be wider than theirs."""
        return Digits(self.values[..., k], self.low, self.high)


def product(a: Digits, b: Digits) -> Tensor:
    """Return ``A @ B.T``, ``[..., n, h]`` int32 or int64, exactly."""
    unit = _int8_unit(a, b)
    if unit is None:
        return exact_product(a.values, b.values)
    return unit.matmul(a.values, b.values)


def wrapped_product(a: Digits, b: Digits, datapath: Datapath) -> Tensor:
    """Return the final values of registers that wrap, which do not depend on the order of steps."""
    d = a.values.shape[-1]
    if datapath.outer is None:
        return _wrap(product(a, b), datapath.inner)
    total = torch.zeros(
        (*a.values.shape[:-1], b.values.shape[-2]), dtype=torch.int64, device=a.values.device
    )
    for k in datapath.blocks(d):
        total += _wrap(product(a.block(k), b.block(k)), datapath.inner)
    return _wrap(total, datapath.outer)


def wrapped(values: Tensor, datapath: Datapath) -> Tensor:
    """Return fresh integers, known modulo 2^64 or exactly, as the result's register holds them."""
    return _wrap(values, datapath.result)


def kernel(a: Digits, b: Digits) -> str:
    """Return what `product` multiplies with."""
    unit = _int8_unit(a, b)
    return f"int8 kernels ({unit.name})" if unit is not None else "floating-point BLAS"


def _int8_unit(a: Digits, b: Digits) -> GemmBackend | None:
    """Return the int8 unit of the operands' device, if it computes their product exactly."""
    if a.values.dtype != torch.int8 or b.values.dtype != torch.int8:
        return None
    if a.values.shape[-1] * a.largest * b.largest >= INT32:
        return None
    return _native_int8(a.values.device.type)


@functools.cache
def _native_int8(device: str) -> GemmBackend | None:
    unit: GemmBackend = CudaInt8() if device == "cuda" else CpuInt8()
    availability = unit.availability()
    return unit if availability.available and availability.execution == "native" else None


def _wrap(values: Tensor, accumulator: Accumulator) -> Tensor:
    """Take fresh int32 or int64 `values` modulo the register's range, in place."""
    if accumulator.bits < torch.iinfo(values.dtype).bits:
        values -= accumulator.minimum
        values &= (1 << accumulator.bits) - 1
        values += accumulator.minimum
    return values
