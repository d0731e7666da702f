"""From the exact integer product back to floating point: the exact quotient, rounded once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic import quotients as on_cpu
from accelsim.arithmetic.exactly import widened
from accelsim.arithmetic.granularity import along_columns
from accelsim.types import PerOperand, Wide

CHUNK = 1 << 18
"""Entries that are widened to float64 at a time, so that they stay in the cache."""

FLOAT64_EXACT = 2**53


def dequantize(
    product: Tensor | Wide,
    scales: PerOperand[Tensor],
    dtype: torch.dtype,
    exponents: PerOperand[int] | None = None,
) -> Tensor:
    """Divide exact integers by the scales of both operands and round once, ties to even.

    Parameters
    ----------
    product : Tensor or ndarray of object
        ``[..., n, h]``: integers in int64, int32, float64 or float32, or Python's.
    scales : PerOperand of Tensor
        float32, positive: scalars, or ``[..., n, 1]`` and ``[..., h, 1]``, on the device of a
        `product` that is a tensor.
    dtype : torch.dtype
        float32, float16 or bfloat16.
    exponents : PerOperand of int or None
        The powers of two by which the operands were multiplied in addition to their scales; None
        for 0.

    Returns
    -------
    Tensor
        ``product / (scale_a * scale_b * 2**(exponent_a + exponent_b))``.

    Notes
    -----
    The product of two scales is exact in float64. The quotient there is off by a few units of the
    last place, which decides the rounding unless it lies next to a point halfway between two
    results. There the exact remainder is worked out, and the quotient rounded to odd, so that one
    further rounding is correct (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    exponent = 0 if exponents is None else -(exponents.a + exponents.b)
    a, b = widened(scales.a), along_columns(widened(scales.b))
    if isinstance(product, Tensor) and product.is_cpu and product.numel():
        return _on_cpu(product, a, b, 2.0**exponent, dtype)
    result = torch.empty(product.shape, dtype=dtype, device=a.device)
    for place in _pieces(tuple(product.shape), a.device):
        divisor = _at(a, place) * _at(b, place)
        part = product[place]
        quotients = (
            _quotients(part, divisor)
            if isinstance(part, Tensor)
            else _quotients_of_wide(part, divisor)
        )
        result[place] = round_once(quotients * 2.0**exponent, dtype)
    return result


def _on_cpu(product: Tensor, a: Tensor, b: Tensor, power: float, dtype: torch.dtype) -> Tensor:
    """Divide in one pass, and once more the lines in which that does not decide the rounding."""
    shape = product.shape
    lines, width, heads = shape[:-1].numel(), shape[-1], shape[:-2].numel()
    flat = product.contiguous().view(lines, width)
    a = a.expand(*shape[:-1], 1).reshape(lines)
    b = b.expand(*shape[:-2], 1, width).reshape(heads, width)
    quotients, doubtful = on_cpu.quick_quotients(
        flat.numpy(), (1 / a).numpy(), (1 / b).numpy(), power, dtype != torch.float32
    )
    result = torch.from_numpy(quotients).to(dtype)
    left = torch.from_numpy(doubtful).nonzero().squeeze(1)
    for some in torch.split(left, max(1, CHUNK // width)):
        divisor = a[some].unsqueeze(1) * b[some // (lines // heads)]
        result[some] = round_once(_quotients(flat[some], divisor) * power, dtype)
    return result.view(shape)


def round_once(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Round float64 values to a shorter type with one rounding, to nearest even.

    PyTorch rounds to float32 on the way. Here that step rounds to odd, so that the second rounding
    is correct (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    if dtype in (torch.float32, torch.float64):
        return values.to(dtype)
    nearest = values.to(torch.float32)
    beyond = nearest.to(torch.float64).abs() > values.abs()
    bits = nearest.view(torch.int32) - beyond.to(torch.int32)
    inexact = bits.view(torch.float32).to(torch.float64) != values
    return (bits | inexact.to(torch.int32)).view(torch.float32).to(dtype)


def _pieces(shape: tuple[int, ...], device: torch.device) -> Iterator[tuple[slice | int, ...]]:
    """Cut ``[..., n, h]`` into groups of rows that fit a CPU's cache; other devices take it all."""
    if device.type != "cpu" or math.prod(shape) <= CHUNK:
        yield (slice(None),) * len(shape)
        return
    step = max(1, CHUNK // shape[-1])
    for head in np.ndindex(*shape[:-2]):
        for start in range(0, shape[-2], step):
            yield (*head, slice(start, start + step), slice(None))


def _at(scale: Tensor, place: tuple[slice | int, ...]) -> Tensor:
    """Return the part of a scale that broadcasts against the part of the product at a place."""
    known = place[len(place) - scale.ndim :]
    whole = slice(None)
    return scale[
        tuple(
            (0 if isinstance(at, int) else whole) if size == 1 else at
            for at, size in zip(known, scale.shape, strict=True)
        )
    ]


def _quotients(integers: Tensor, divisor: Tensor) -> Tensor:
    """Return float64 quotients that round to float32 and shorter types as the exact ones do."""
    quotients = integers.to(torch.float64) / divisor
    doubtful = _is_doubtful(quotients) & (integers != 0)
    if bool(doubtful.any()):
        divisors = divisor.expand(integers.shape)[doubtful]
        quotients[doubtful] = _rounded_to_odd(integers[doubtful], divisors)
    return quotients


def _is_doubtful(quotients: Tensor) -> Tensor:
    close = on_cpu.CLOSE
    return (quotients.view(torch.int64) + close) & (on_cpu.BETWEEN - 1) <= 2 * close


def _rounded_to_odd(integers: Tensor, divisor: Tensor) -> Tensor:
    """Divide in float64, rounding to odd: the last bit says whether the quotient is inexact."""
    low = torch.zeros_like(divisor)
    if integers.is_floating_point():
        high = integers.to(torch.float64)
    else:
        whole = integers.to(torch.int64)
        rest = torch.where(whole.to(torch.float64).abs() < FLOAT64_EXACT, 0, whole & 0x7FF)
        high, low = (whole - rest).to(torch.float64), rest.to(torch.float64)
    quotient = high / divisor
    quotient += _remainder(high, low, quotient, divisor) / divisor
    remainder = _remainder(high, low, quotient, divisor)
    bits = quotient.view(torch.int64)
    towards = (remainder.sign() * quotient.sign()).to(torch.int64)
    return torch.where(bits & 1 == 0, bits + towards, bits).view(torch.float64)


def _remainder(high: Tensor, low: Tensor, quotient: Tensor, divisor: Tensor) -> Tensor:
    """Return ``high + low - quotient * divisor``, whose sign is exact next to the quotient.

    The product is the sum of two float64s (Dekker, "A floating-point technique for extending the
    available precision", 1971). The first cancels against `high`, without an error; what is left
    with `low` are small integers, so that only the last subtraction rounds.
    """
    product = quotient * divisor
    x, y = _halves(quotient)
    u, v = _halves(divisor)
    error = ((x * u - product) + x * v + y * u) + y * v
    return ((high - product) + low) - error


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Split float64 values into two of at most 26 bits (Veltkamp)."""
    large = values * (2.0**27 + 1)
    high = large - (large - values)
    return high, values - high


def _quotients_of_wide(integers: Wide, divisor: Tensor) -> Tensor:
    """Do what `_quotients` does for Python's integers."""
    known = torch.from_numpy(np.asarray(integers.astype(np.float64))).to(divisor.device)
    quotients = known / divisor
    doubtful = _is_doubtful(quotients) & (known != 0)
    if bool(doubtful.any()):
        exact = np.frompyfunc(_exact_to_odd, 2, 1)
        divisors = divisor.expand(quotients.shape)[doubtful].cpu().numpy()
        found = exact(integers[doubtful.cpu().numpy()], divisors).astype(np.float64)
        quotients[doubtful] = torch.from_numpy(found).to(divisor.device)
    return quotients


def _exact_to_odd(integer: int, divisor: float) -> float:
    quotient = abs(integer) / Fraction(divisor)
    numerator, denominator = quotient.numerator, quotient.denominator
    shift = numerator.bit_length() - denominator.bit_length() - 54
    while True:
        digits, rest = divmod(numerator << max(0, -shift), denominator << max(0, shift))
        if digits.bit_length() <= 53:
            break
        shift += 1
    return math.copysign(math.ldexp(digits | (rest != 0), shift), integer)
