"""Conversions and powers of two, exact for subnormal numbers with any settings of PyTorch.

With ``torch.set_flush_denormal(True)`` a thread's floating-point operations take subnormal numbers
for 0; operations on their bits do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 without its sign, which order magnitudes as integers."""

_SMALLEST_NORMAL = 0x00800000
_UNIT_EXPONENT = -149


def magnitude_bits(values: Tensor) -> Tensor:
    """Return the bits of the magnitudes of float32 `values`, int32."""
    return values.view(torch.int32) & MAGNITUDE


def widened(values: Tensor) -> Tensor:
    """Return float32 `values` in float64."""
    bits = magnitude_bits(values)
    units = torch.copysign(bits.to(torch.float64), values) * 2.0**_UNIT_EXPONENT
    return torch.where(bits < _SMALLEST_NORMAL, units, values.to(torch.float64))


def widened_magnitudes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the magnitudes of float32 `values` in float64."""
    bits = values.view(np.int32) & np.int32(MAGNITUDE)
    return np.where(bits < _SMALLEST_NORMAL, bits * 2.0**_UNIT_EXPONENT, np.abs(values))


def times_power(values: Tensor, exponent: int) -> Tensor:
    """Return float32 ``values * 2**exponent``, rounded once where the result is subnormal."""
    bits = magnitude_bits(values)
    normal = values.to(torch.float64) * 2.0**exponent
    units = torch.copysign(bits.to(torch.float64), values) * 2.0 ** (exponent + _UNIT_EXPONENT)
    return torch.where(bits < _SMALLEST_NORMAL, units, normal).to(torch.float32)
