"""The error function in float64, from operations that IEEE 754 defines to the last bit.

It is expanded around 24 points up to 6, beyond which it is 1 in float64. The coefficients are
``erf(c)`` and its derivatives, ``2/√π (-1)^n H_n(c) exp(-c²)`` with Hermite's polynomials
(Abramowitz and Stegun, 7.1.19), worked out in decimal arithmetic, which is the same everywhere.
"""

from __future__ import annotations

import functools
import math
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import torch
from torch import Tensor

PIECES, END = 24, 6.0
_DEGREE = 13
_DIGITS = 60
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640629")

SMALL = 2.0**-12
"""Below, the first terms of the series at 0 are closer."""


def erf(x: Tensor) -> Tensor:
    """Return the error function of float64 `x`."""
    table = _on_device(x.device)
    magnitude = torch.where(x.isnan(), 0.0, x.abs().clamp_max(END))
    piece = (magnitude * (PIECES / END)).floor().clamp_max(PIECES - 1).to(torch.int64)
    offset = magnitude - (piece.to(torch.float64) + 0.5) * (END / PIECES)
    result = table[_DEGREE][piece]
    for power in range(_DEGREE - 1, -1, -1):
        result = result * offset + table[power][piece]
    square = magnitude * magnitude
    near_0 = magnitude * (2 / math.sqrt(math.pi)) * (1 - square * (1 / 3))
    result = torch.where(magnitude < SMALL, near_0, result)
    result = torch.where(magnitude == END, 1.0, result)
    return torch.where(x.isnan(), x, torch.copysign(result, x))


def gelu(x: Tensor) -> Tensor:
    """Return ``x * (1 + erf(x / √2)) / 2`` of float64 `x`."""
    return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1)


@functools.cache
def _on_device(device: torch.device) -> Tensor:
    """Return the coefficients, float64 ``[degree + 1, pieces]``."""
    # A context of its own: the caller's may have few digits, round otherwise, or raise an error.
    with localcontext(Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, traps=[])):
        columns = [_expansion((Decimal(i) + Decimal("0.5")) * 6 / PIECES) for i in range(PIECES)]
    return torch.tensor(columns, dtype=torch.float64, device="cpu").mT.contiguous().to(device)


def _expansion(c: Decimal) -> list[float]:
    """Return the Taylor coefficients of erf at `c`, the constant one first."""
    slope = 2 / _PI.sqrt() * (-c * c).exp()
    hermite = [Decimal(1), 2 * c]
    for n in range(1, _DEGREE):
        hermite.append(2 * c * hermite[n] - 2 * n * hermite[n - 1])
    derivatives = [slope * h * (-1) ** n for n, h in enumerate(hermite[:_DEGREE])]
    terms = [d / math.factorial(n + 1) for n, d in enumerate(derivatives)]
    return [float(t) for t in (_erf(c), *terms)]


def _erf(c: Decimal) -> Decimal:
    """Sum erf's series ``2/√π Σ (-1)^n c^(2n+1) / (n! (2n+1))``."""
    term, total, n = c, c, 0
    while abs(term) > Decimal(10) ** (-_DIGITS // 2):
        n += 1
        term = -term * c * c / n
        total += term / (2 * n + 1)
    return 2 / _PI.sqrt() * total
