"""The float32 scale of every group of entries, and the power of two that goes with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.errors import DataError

LARGEST_EXPONENT = 124
"""Scales stay below ``2**125``: whatever they scale to 1/2 or more is a normal number."""

SMALLEST_EXPONENT = -126
"""Scales stay normal numbers."""

_UNIT = 2.0**-149
_LIMIT = 2.0**128

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scales:
    """Scales of groups of entries that are first multiplied by a power of two.

    Parameters
    ----------
    values : ndarray
        float32 ``[groups]``.
    exponent : int
        Entries are first multiplied by ``2**exponent``; 0 unless a scale would leave float32.
    """

    values: npt.NDArray[np.float32]
    exponent: int


def ideal_scales(alphas: Floats, peaks: Floats, beta: float) -> Floats:
    """Return ``beta / (2 * alpha)`` of every group in float64; 1 for a group of zeros.

    Parameters
    ----------
    alphas, peaks : ndarray
        float64 ``[groups]``: α and the largest magnitude of each.
    beta : float
        Number of integer steps that α spans on both sides.
    """
    zero = peaks == 0
    return np.where(zero, 1.0, beta / (2 * np.where(zero, 1.0, alphas)))


def in_float32(ideal: Floats, peaks: Floats, name: str) -> Scales:
    """Round scales to float32, once, with a power of two for those that are out of its range.

    Parameters
    ----------
    ideal, peaks : ndarray
        float64 ``[groups]``: the scales, and the largest magnitude of each group.
    name : str
        What messages call the operand.

    Raises
    ------
    DataError
        If no power of two brings all scales and all entries into float32.

    Notes
    -----
    Where a scale would not be a normal float32 below 2^125, all entries are to be multiplied by one
    power of two, and all scales are divided by it. Both are exact, and so is every integer: entries
    that become subnormal are far below 1/2 after they are scaled.
    """
    # A float32 below its normal range is a multiple of 2^-149.
    coarse = np.rint(ideal / _UNIT) * _UNIT
    rounded = np.where(ideal < 2.0**SMALLEST_EXPONENT, coarse, ideal)
    exponents = np.frexp(rounded)[1][peaks != 0] - 1
    if not exponents.size:
        return Scales(rounded.astype(np.float32), 0)
    least, most = int(exponents.min()), int(exponents.max())
    exponent = max(0, most - LARGEST_EXPONENT) or min(0, least - SMALLEST_EXPONENT)
    in_range = least - exponent >= SMALLEST_EXPONENT and most - exponent <= LARGEST_EXPONENT
    if not in_range or float(peaks.max()) * 2.0**exponent >= _LIMIT:
        raise DataError(
            f"{name}: its rows have scales from 2^{least} to 2^{most}, which float32 does not hold "
            "beside each other; choose one scale per tensor"
        )
    scaled = np.where(peaks == 0, 1.0, rounded * 2.0**-exponent)
    return Scales(scaled.astype(np.float32), exponent)
