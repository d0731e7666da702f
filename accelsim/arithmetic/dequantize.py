"""From the exact integer product back to floating point, with one rounding."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 18
"""Entries that are widened to float64 at a time, so that they stay in the cache."""


def dequantize(product: Tensor, inverse: float, dtype: torch.dtype) -> Tensor:
    """Multiply exact integers by the inverse scale in float64 and round once.

    Parameters
    ----------
    product : Tensor
        Integers in int64, float64 or float32, any shape. Equal integers give equal results in
        whichever type they come; beyond 2^53 they are rounded to float64 first.
    inverse : float
        ``1 / (scale of A * scale of B)``.
    dtype : torch.dtype
        float64, float32, float16 or bfloat16.
    """
    result = torch.empty(product.shape, dtype=dtype, device=product.device)
    whole, out = product.contiguous().reshape(-1), result.reshape(-1)
    size = CHUNK if product.device.type == "cpu" else max(1, whole.numel())
    for start in range(0, whole.numel(), size):
        part = whole[start : start + size].to(torch.float64).mul_(inverse)
        out[start : start + size] = round_once(part, dtype)
    return result


def round_once(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Round float64 values to a shorter type with one rounding, to nearest even.

    PyTorch rounds to float32 on the way. Here that step rounds to odd, which the second rounding
    forgives (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    if dtype in (torch.float32, torch.float64):
        return values.to(dtype)
    nearest = values.to(torch.float32)
    beyond = nearest.to(torch.float64).abs() > values.abs()
    bits = nearest.view(torch.int32) - beyond.to(torch.int32)
    inexact = bits.view(torch.float32).to(torch.float64) != values
    return (bits | inexact.to(torch.int32)).view(torch.float32).to(dtype)
