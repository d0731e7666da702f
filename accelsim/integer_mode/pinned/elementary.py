"""Elementary functions in float64, from operations that IEEE 754 defines to the last bit.

Every step is an operator of PyTorch of its own, so that nothing contracts a product and a sum:
additions, multiplications, divisions, square roots, rounding to whole numbers and operations on
bits. Results are off by a few units of 2^-53; who rounds them to float32 or less gets nearly always
the float next to the true value, and always the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MANTISSA, BIAS = 52, 1023

_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts; multiples of the first by whole numbers below 2^20 are exact."""

_LOG2E = float.fromhex("0x1.71547652b82fep0")

_TWO_OVER_PI = float.fromhex("0x1.45f306dc9c883p-1")
_HALF_PI = [
    float.fromhex(part) for part in ("0x1.921fb544p0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69")
]
"""π/2 in three parts; multiples of the first two by whole numbers below 2^20 are exact."""

_TWO_PI = float.fromhex("0x1.921fb54442d18p2")

_FAR = 2.0**30
"""Angles beyond are first reduced by the float64 next to 2π, whose error they multiply."""

_EXP = [1 / math.factorial(k) for k in range(13, 1, -1)]
_SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(8, 0, -1)]
_COS = [(-1) ** k / math.factorial(2 * k) for k in range(9, 0, -1)]
_LOG = [1 / (2 * k + 1) for k in range(12, 0, -1)]


def power_of_two(exponents: Tensor) -> Tensor:
    """Return ``2**exponents`` in float64, for int64 from -1022 to 1023."""
    return ((exponents + BIAS) << MANTISSA).view(torch.float64)


def exponents_above(values: Tensor) -> Tensor:
    """Return the least e with ``|value| < 2**e`` for normal float64 `values`, int64."""
    return ((values.view(torch.int64) >> MANTISSA) & 0x7FF) - (BIAS - 1)


def polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Evaluate a polynomial by Horner's rule, its highest coefficient first."""
    result = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


def divided(x: Tensor, number: float) -> Tensor:
    """Divide float64 `x` by a number; a GPU would multiply by the number's reciprocal."""
    return x / torch.full((), number, dtype=torch.float64, device=x.device)


def exp(x: Tensor) -> Tensor:
    """Return e to the power of float64 `x`."""
    whole, rest = _exp_parts(x)
    half = whole.to(torch.int64) >> 1
    scaled = (rest + 1) * power_of_two(half)
    return scaled * power_of_two(whole.to(torch.int64) - half)


def expm1(x: Tensor) -> Tensor:
    """Return ``exp(x) - 1`` of float64 `x` below 700, without cancellation near 0."""
    whole, rest = _exp_parts(x)
    power = power_of_two(whole.to(torch.int64).clamp_min(-1022))
    return power * rest + (power - 1)


def _exp_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return n and ``exp(r) - 1`` with ``exp(x) = 2**n * exp(r)``; r is at most ln 2 / 2."""
    # Beyond these limits the result is 0 or infinite. The number of NaN must be one that int64 has.
    limited = x.clamp(-750.0, 711.0)
    whole = torch.where(x.isnan(), 0.0, (limited * _LOG2E).round())
    rest = (limited - whole * _LN2_HIGH) - whole * _LN2_LOW
    return whole, rest + rest * rest * polynomial(rest, _EXP)


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of float64 `x` that is 0, negative or a normal number."""
    bits = x.view(torch.int64)
    mantissa = ((bits & ((1 << MANTISSA) - 1)) | (BIAS << MANTISSA)).view(torch.float64)
    large = mantissa > math.sqrt(2)
    mantissa = torch.where(large, mantissa * 0.5, mantissa)
    exponent = (((bits >> MANTISSA) & 0x7FF) - BIAS + large).to(torch.float64)
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = 2 * s + 2 * s * (square * polynomial(square, _LOG))
    result = exponent * _LN2_HIGH + (series + exponent * _LN2_LOW)
    result = torch.where(x == math.inf, x, result)
    result = torch.where(x == 0, -math.inf, result)
    return torch.where((x < 0) | x.isnan(), math.nan, result)


def sin(x: Tensor) -> Tensor:
    """Return the sine of float64 `x`."""
    return _sine(x, 0)


def cos(x: Tensor) -> Tensor:
    """Return the cosine of float64 `x`."""
    return _sine(x, 1)


def _sine(x: Tensor, quarters: int) -> Tensor:
    """Return the sine of `x` plus a number of quarters of a turn."""
    near = torch.where(x.abs() > _FAR, torch.fmod(x, _TWO_PI), x)
    near = torch.where(near.isfinite(), near, 0.0)
    count = (near * _TWO_OVER_PI).round()
    high, middle, low = _HALF_PI
    r = ((near - count * high) - count * middle) - count * low
    square = r * r
    sine = r + r * (square * polynomial(square, _SIN))
    cosine = 1 + square * polynomial(square, _COS)
    quadrant = (count.to(torch.int64) + quarters) & 3
    result = torch.where((quadrant & 1).bool(), cosine, sine)
    result = torch.where((quadrant & 2).bool(), -result, result)
    return torch.where(x.isfinite(), result, math.nan)


def sigmoid(x: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-x))`` of float64 `x`."""
    return 1 / (exp(-x) + 1)


def silu(x: Tensor) -> Tensor:
    """Return ``x * sigmoid(x)`` of float64 `x`."""
    return x / (exp(-x) + 1)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of float64 `x`."""
    grown = expm1(2 * x.abs().clamp_max(22.0))
    return torch.copysign(grown / (grown + 2), x)


def gelu_tanh(x: Tensor) -> Tensor:
    """Return the approximation by tanh of GELU of float64 `x`."""
    inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
    return x * 0.5 * (tanh(inner) + 1)
