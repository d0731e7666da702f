"""Whether floats are the exact quotients of integers by scales, rounded once to nearest even.

This is decided apart from how quotients are computed: f is right for C / S if and only if C lies
between S times the two points that are halfway from f to its neighbours, or, where f is even, on
one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import CHUNK
from accelsim.types import Wide

GPU_CHUNK = 1 << 23
"""Entries that are looked at together on a GPU, where every step is a launch."""

_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def count_not_nearest(floats: Tensor, integers: Tensor | Wide, scale: Tensor) -> int:
    """Return how many floats are not the nearest to their quotient.

    Parameters
    ----------
    floats : Tensor
        ``[..., n, h]``, float32, float16 or bfloat16.
    integers : Tensor or ndarray of object
        The same shape, magnitudes below 2^63 in a tensor.
    scale : Tensor
        float64 of at most 48 significant bits, a scalar or ``[..., n, h]``.
    """
    wrong = torch.zeros((), dtype=torch.int64, device=floats.device)
    for f, c, s in _pieces(floats, integers, scale):
        magnitude = f.abs().view(_BITS[f.dtype])
        other_sign = f.double() * (c if isinstance(c, Tensor) else _signs(c, f)) < 0
        below = _halfway(magnitude, -1, f.dtype)
        above = _halfway(magnitude, 1, f.dtype)
        low, high = _compare(c, below, s), _compare(c, above, s)
        even = (magnitude & 1) == 0
        right = ((low > 0) | ((low == 0) & even)) & ((high < 0) | ((high == 0) & even))
        wrong += (~right | other_sign | f.isnan()).sum()
    return int(wrong)


def _pieces(
    floats: Tensor, integers: Tensor | Wide, scale: Tensor
) -> Iterator[tuple[Tensor, Tensor | Wide, Tensor]]:
    flat, scales = floats.reshape(-1), scale.expand(floats.shape).reshape(-1)
    whole = integers.reshape(-1)
    chunk = CHUNK if floats.device.type == "cpu" else GPU_CHUNK
    for start in range(0, flat.numel(), chunk):
        part = slice(start, start + chunk)
        yield flat[part], whole[part], scales[part]


def _signs(integers: Wide, like: Tensor) -> Tensor:
    return torch.from_numpy(np.sign(integers).astype(np.float64)).to(like.device)


def _halfway(magnitude: Tensor, step: int, dtype: torch.dtype) -> Tensor:
    """Return the point halfway to the next float, exactly; infinity beyond the last ones.

    Rounding takes infinity for the power of two that would follow the largest float.
    """
    beyond = 2.0 * 2.0 ** int(np.log2(torch.finfo(dtype).max))
    last = torch.tensor(torch.inf, dtype=dtype, device="cpu").view(_BITS[dtype]).item()

    def value(bits: Tensor) -> Tensor:
        found = bits.to(_BITS[dtype]).view(dtype).double()
        return torch.where(bits == last, beyond, found)

    point = (value(magnitude) + value((magnitude + step).clamp(0, last))) / 2
    if step < 0:
        return torch.where(magnitude == 0, -torch.inf, point)
    return torch.where(magnitude == last, torch.inf, point)


def _compare(integers: Tensor | Wide, point: Tensor, scale: Tensor) -> Tensor:
    """Return the sign of ``|integer| - point * scale``, exactly."""
    if isinstance(integers, Tensor):
        return _compare_int64(integers.abs(), point, scale)
    pairs = np.frompyfunc(_sign, 3, 1)(np.abs(integers), point.cpu().numpy(), scale.cpu().numpy())
    return torch.from_numpy(pairs.astype(np.int64)).to(point.device)


def _sign(integer: int, point: float, scale: float) -> int:
    if np.isinf(point):
        return -1 if point > 0 else 1
    exact = integer - Fraction(point) * Fraction(scale)
    return (exact > 0) - (exact < 0)


def _compare_int64(integers: Tensor, point: Tensor, scale: Tensor) -> Tensor:
    """Sum ``high + low - point * (first + second)``, whose terms are exact in float64.

    A point has at most 25 bits and each part of a scale at most 25. What three passes without
    error leave is off by less than 2^-150 of the largest term, and the sum is a multiple of 2^-80
    of it.
    """
    first = (scale.view(torch.int64) & -(1 << 28)).view(torch.float64)
    high = integers & -(1 << 11)
    largest = point * first
    terms = [high.double(), -largest, (integers - high).double(), -point * (scale - first)]
    for _ in range(3):
        for i in range(1, len(terms)):
            terms[i], terms[i - 1] = _two_sum(terms[i], terms[i - 1])
    total = terms[-1]
    total = torch.where(total.abs() <= largest.abs() * 2.0**-100, 0.0, total)
    return torch.where(point.isinf(), -point, total).sign()


def _two_sum(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rounded sum and what rounding left of it (Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)
