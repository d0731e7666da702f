"""Sums of floats that do not depend on their order, nor on zeros among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from accelsim.integer_mode.pinned.elementary import exponents_above, power_of_two

BITS = 40
"""Terms are rounded to multiples of 2^-40 of the power of two above the largest of them."""

MOST = 1 << 22
"""Terms of a sum, which int64 then holds whatever they are."""

_LEAST_EXPONENT = -900


def total(values: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the sum of float64 `values` over dimensions, which are kept with size 1.

    Parameters
    ----------
    values : Tensor
        float64, at most `MOST` terms a sum; below 2^-900 they count as 0.
    dims : sequence of int
        The dimensions.

    Notes
    -----
    The sum of integers in int64 is exact, so that neither the order of the terms nor their places
    matter. What they are rounded to depends on the largest magnitude alone.
    """
    if values.numel() == 0:
        return values.sum(tuple(dims), keepdim=True)
    peak = values.abs().amax(tuple(dims), keepdim=True)
    exponents = exponents_above(peak).clamp_min(_LEAST_EXPONENT)
    units = (values * power_of_two(BITS - exponents)).round().to(torch.int64)
    sums = units.sum(tuple(dims), keepdim=True).to(torch.float64)
    result = sums * power_of_two(exponents - BITS)
    if bool(peak.isfinite().all()):
        return result
    above, below = (
        (values == infinity).any(dim=tuple(dims), keepdim=True)
        for infinity in (math.inf, -math.inf)
    )
    beyond = torch.where(above & ~below, math.inf, torch.where(below & ~above, -math.inf, math.nan))
    return torch.where(peak.isfinite(), result, torch.where(peak.isnan(), math.nan, beyond))


def unit_total(values: Tensor, dim: int) -> Tensor:
    """Return the sum of float64 `values` from 0 to 1 over a dimension, which is kept.

    Parameters
    ----------
    values : Tensor
        At most `MOST` terms a sum; they are rounded to multiples of 2^-40.
    dim : int
        The dimension.
    """
    units = (values * 2.0**BITS).round().to(torch.int64)
    return units.sum(dim, keepdim=True).to(torch.float64) * 2.0**-BITS
