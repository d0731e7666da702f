"""Exact quotients of integers by scales, rounded once, in PyTorch: what the kernels must give."""

from __future__ import annotations

import torch
from torch import Tensor

SPLITTER = float((1 << 27) + 1)


def rounded_quotient(product: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Divide integers below 2^53 by float64 scales and round the quotients once, ties to even.

    Parameters
    ----------
    product : Tensor
        int64.
    scale : Tensor
        float64, positive; broadcast.
    dtype : torch.dtype
        float64, float32, float16 or bfloat16.
    """
    c = product.to(torch.float64)
    quotient = c / scale
    if dtype is torch.float64:
        return quotient
    # The remainder is exact: a product of two float64 is a float64 and an error (Dekker, 1971).
    high, low = _split(quotient)
    other_high, other_low = _split(scale)
    near = quotient * scale
    error = ((high * other_high - near) + high * other_low + low * other_high) + low * other_low
    remainder = (c - near) - error
    # Rounded to odd, at 53 and then at 24 bits, the last rounding is the only one.
    bits = quotient.view(torch.int64)
    bits = bits - (((remainder < 0) != (c < 0)) & (remainder != 0)).to(torch.int64)
    odd = (bits | (remainder != 0).to(torch.int64)).view(torch.float64)
    if dtype is torch.float32:
        return odd.to(dtype)
    nearest = odd.to(torch.float32)
    beyond = nearest.to(torch.float64).abs() > odd.abs()
    single = nearest.view(torch.int32) - beyond.to(torch.int32)
    inexact = single.view(torch.float32).to(torch.float64) != odd
    return (single | inexact.to(torch.int32)).view(torch.float32).to(dtype)


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    scaled = x * SPLITTER
    high = scaled - (scaled - x)
    return high, x - high
