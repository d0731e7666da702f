"""A bit-accurate model of a b-bit multiplier with an accumulator of any width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from accelsim.errors import InputError
from gemm_backends._accumulate import accumulate, wrapped
from gemm_backends.base import GemmBackend
from gemm_backends.errors import AccumulatorOverflow
from gemm_backends.exact import exact_product
from gemm_backends.operands import largest, matrices, summed, unflattened
from gemm_backends.types import Accumulator, Availability, OverflowReport

WIDEST = 16


class Emulator(GemmBackend):
    """Multiply b-bit signed digits and sum the products in the order of k, one per step.

    Where the operands prove that no step can overflow, or the accumulator wraps (sums modulo
    ``2**accumulator_bits`` may be formed in any order), the product comes from an exact
    floating-point matrix multiplication; otherwise every step is carried out.

    Parameters
    ----------
    bits : int, sequence of two int, or None
        Width of the digits, 2 to 16, or of A's and of B's. None stands for the multiplier that the
        digits ask for: `for_bits` builds it, and until then 16 bits are allowed.
    accumulator_bits : int
        Width of the accumulator, 8 to 64.
    overflow : {"wrap", "saturate", "error"}
        What the accumulator does with a sum that does not fit.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    name = "emulator"
    bits: int | tuple[int, int] = WIDEST
    accumulator = Accumulator(bits=32, overflow="wrap")
    batched = True

    def __init__(
        self,
        bits: int | Sequence[int] | None = None,
        accumulator_bits: int = 32,
        overflow: Literal["wrap", "saturate", "error"] = "wrap",
    ) -> None:
        self.bits = _widths(WIDEST if bits is None else bits)
        if not 8 <= accumulator_bits <= 64:
            raise ValueError(f"accumulator_bits must be from 8 to 64, got {accumulator_bits}")
        self.accumulator = Accumulator(accumulator_bits, overflow)

    def availability(self) -> Availability:
        """Say that this runs anywhere, in software."""
        return Availability(available=True, execution="emulated")

    def for_bits(self, bits_a: int, bits_b: int) -> Emulator:
        """Return the multiplier of these widths, unless `bits` was given."""
        if self.options["bits"] is not None:
            return self
        return self.with_options(bits=bits_a if bits_a == bits_b else (bits_a, bits_b))

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int64.

        Raises
        ------
        InputError
            If a digit does not fit `bits`.
        AccumulatorOverflow
            If a step overflows and `overflow` is ``"error"``.
        """
        if self.accumulator.overflow != "wrap":
            return self.matmul_report(a, b)[0]
        self._check_digits(a, b)
        product = exact_product(a, b)
        wrapped(product.numpy(), self.accumulator)
        return product

    def matmul_report(self, a: Tensor, b: Tensor) -> tuple[Tensor, OverflowReport]:
        """Multiply as `matmul` does and count the steps that overflowed."""
        self._check_digits(a, b)
        if not self._may_overflow(a, b):
            return exact_product(a, b), OverflowReport(0)
        products, reports = [], []
        for x, y in zip(matrices(a), matrices(b), strict=True):
            product, report = accumulate(x.numpy(), y.numpy(), self.accumulator)
            products.append(torch.from_numpy(product))
            reports.append(report)
        report = summed(reports, a.shape)
        if report.count and self.accumulator.overflow == "error":
            raise AccumulatorOverflow(report)
        return unflattened(products, a.shape), report

    def _check_digits(self, a: Tensor, b: Tensor) -> None:
        for name, digits, bits in zip("AB", (a, b), self.operand_bits, strict=True):
            if digits.numel() == 0:
                continue
            low, high = (int(value) for value in digits.aminmax())
            limit = 1 << (bits - 1)
            if low < -limit or high >= limit:
                raise InputError(
                    f"{name} holds digits from {low} to {high}, outside the {bits}-bit range "
                    f"from {-limit} to {limit - 1}"
                )

    def _may_overflow(self, a: Tensor, b: Tensor) -> bool:
        """Bound every partial sum: by the largest digits first, then by the absolute products."""
        if a.shape[-1] * largest(a) * largest(b) <= self.accumulator.maximum:
            return False
        magnitudes = exact_product(a.to(torch.int32).abs(), b.to(torch.int32).abs())
        return largest(magnitudes) > self.accumulator.maximum


def _widths(bits: int | Sequence[int]) -> int | tuple[int, int]:
    widths = (bits, bits) if isinstance(bits, int) else tuple(bits)
    if len(widths) != 2 or not all(2 <= width <= WIDEST for width in widths):
        raise ValueError(f"bits must be from 2 to {WIDEST}, or two such widths, got {bits!r}")
    return bits if isinstance(bits, int) else (widths[0], widths[1])
