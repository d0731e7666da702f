"""Products that an accelerator corrects in place: what it is given, and why nothing overflows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from accelsim.errors import UnsupportedError
from accelsim.unpack.corrected import CorrectedProduct, High
from gemm_backends import Accumulator, Corrections, HighDigits

ROUNDING = 1 + 1e-6
"""More than the rounding errors of a sum of up to 2^32 squares in float64 can amount to."""


def corrections_of(product: CorrectedProduct) -> Corrections:
    """Describe the high digits of a product as backends know them."""
    return Corrections(_described(product.high_a), _described(product.high_b))


def proved_in_place(
    product: CorrectedProduct, accumulator: Accumulator
) -> Sequence[CorrectedProduct]:
    """Cut K until no sum of a product and its corrections can overflow the accumulator.

    By the inequality of Cauchy and Schwarz a sum is at most the product of the lengths of its two
    rows. Where a register wraps, only the sum in the end counts; otherwise every partial sum does,
    and digits count with their magnitudes.

    Raises
    ------
    UnsupportedError
        If even one column may overflow.
    """
    parts: Sequence[CorrectedProduct] = [product]
    k = product.a.shape[1]
    magnitudes = accumulator.overflow != "wrap"
    while any(_bound(part, magnitudes) > accumulator.maximum for part in parts):
        if k <= 1:
            raise UnsupportedError(
                f"the product of two entries with their high digits may overflow the "
                f"{accumulator.bits}-bit accumulator that the lanes add to, so splitting K cannot "
                "help; accumulator_bits must be larger"
            )
        k = -(-k // 2)
        parts = product.slices(k)
    return parts


def _described(high: High) -> HighDigits:
    return HighDigits(high.digits, high.index, high.exponent)


def _bound(product: CorrectedProduct, magnitudes: bool) -> int:
    a = _longest(product.a, product.high_a, magnitudes)
    b = _longest(product.b, product.high_b, magnitudes)
    return math.ceil(a * b * ROUNDING)


def _longest(low: Tensor, high: High, magnitudes: bool) -> float:
    """Return the Euclidean length of the longest row."""
    values, digits = low.to(torch.float64), high.digits
    line = digits.row_of_entry
    weights = torch.exp2(high.exponent.to(torch.float64))[line]
    further = digits.values.to(torch.float64)
    if magnitudes:
        values, further = values.abs(), further.abs()
    else:
        values = values.clone()
    values.index_put_((high.index[line], digits.columns), further * weights, accumulate=True)
    squares = values.square().sum(1)
    return math.sqrt(float(squares.max())) if squares.numel() else 0.0
