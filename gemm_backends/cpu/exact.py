"""Exact integer products from floating-point matrix multiplications."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import largest
from accelsim.arithmetic.precision import float32_is_ieee

FLOAT32_EXACT = 1 << 24
"""Integers up to this magnitude are exact in float32."""

FLOAT64_EXACT = 1 << 53
"""Integers up to this magnitude are exact in float64."""

MIN_FLOAT32_SLICE = 256
"""Slices of K shorter than this cost more in additions than float32 saves in multiplications."""


def exact_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``A @ B.T`` exactly.

    K is cut into slices short enough that no partial sum of a slice can leave the range in which
    float32 or float64 represents every integer, so the order of the BLAS's additions does not
    matter. The slices are added in int64. This is many times faster than torch's int64 product.

    Parameters
    ----------
    a, b : Tensor
        ``[..., n, d]`` and ``[..., h, d]``, integers of at most 16 bits.

    Returns
    -------
    Tensor
        ``[..., n, h]`` int64, modulo 2**64.
    """
    d = a.shape[-1]
    step = max(1, largest(a) * largest(b))
    dtype, slice_length = torch.float64, FLOAT64_EXACT // step
    if float32_is_ieee(a.device):
        float32_length = FLOAT32_EXACT // step
        if float32_length >= min(d, MIN_FLOAT32_SLICE):
            dtype, slice_length = torch.float32, float32_length
    total = torch.zeros((*a.shape[:-1], b.shape[-2]), dtype=torch.int64, device=a.device)
    for start in range(0, d, slice_length):
        part = slice(start, start + slice_length)
        total += (a[..., part].to(dtype) @ b[..., part].to(dtype).mT).to(torch.int64)
    return total
