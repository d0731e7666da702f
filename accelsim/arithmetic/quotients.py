"""Quotients of integers by scales on a CPU, in one pass over the product."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from accelsim.kernels.threads import over_lines

BETWEEN = 1 << 28
"""Floats of up to 24 bits and the points halfway between them are float64s without these bits."""

CLOSE = 8
"""A quotient computed in float64 is off by at most 5 units; closer to such a point is doubtful."""


def quick_quotients(
    product: npt.NDArray[Any],
    inverse_a: npt.NDArray[np.float64],
    inverse_b: npt.NDArray[np.float64],
    power: float,
    to_odd: bool,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return quotients in float32, and which lines have some whose last bit is doubtful.

    Parameters
    ----------
    product : ndarray
        ``[lines, h]``, contiguous: integers in float32, float64, int32 or int64.
    inverse_a : ndarray
        ``[lines]``: 1 over the scale of each line, in float64.
    inverse_b : ndarray
        ``[heads, h]``: 1 over the scale of each column, for groups of equally many lines.
    power : float
        A power of two that multiplies every quotient.
    to_odd : bool
        Whether to round to odd, for a shorter type that is rounded to next, or to nearest.
    """
    lines, width = product.shape
    quotients = np.empty((lines, width), np.float32)
    doubtful = np.zeros(lines, np.bool_)
    over_lines(
        _divide, lines, width, product, inverse_a, inverse_b, lines // len(inverse_b), power, CLOSE,
        to_odd, quotients, doubtful,
    )  # fmt: skip
    return quotients, doubtful


@njit(cache=True, nogil=True)
def _divide(
    start: Any, stop: Any, product: Any, inverse_a: Any, inverse_b: Any, lines_per_head: Any,
    power: Any, close: Any, to_odd: Any, quotients: Any, doubtful: Any,
) -> None:  # fmt: skip
    width = product.shape[1]
    line = np.empty(width, np.float64)
    bits = line.view(np.int64)
    for i in range(start, stop):
        own, columns, integers = inverse_a[i], inverse_b[i // lines_per_head], product[i]
        for j in range(width):
            line[j] = np.float64(integers[j]) * (own * columns[j])
        found = 0
        for j in range(width):
            near = ((bits[j] + close) & (BETWEEN - 1)) <= 2 * close
            found += near & (integers[j] != 0)
        doubtful[i] = found > 0
        out = quotients[i]
        for j in range(width):
            line[j] *= power
            out[j] = np.float32(line[j])
        if to_odd:
            _to_odd(line, out)


@njit(cache=True, nogil=True)
def _to_odd(exact: Any, rounded: Any) -> None:
    """Replace float32s nearest to `exact` by those towards zero, the last bit set if inexact."""
    bits = rounded.view(np.int32)
    for j in range(len(exact)):
        bits[j] -= np.int32(abs(np.float64(rounded[j])) > abs(exact[j]))
    for j in range(len(exact)):
        bits[j] |= np.int32(np.float64(rounded[j]) != exact[j])
