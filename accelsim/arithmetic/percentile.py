"""The largest magnitude of a tensor and the k-th largest, exactly, in one pass each.

Numba works out sums and masks of int32 in int64; casts back to int32 keep the vectors narrow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from accelsim.kernels.threads import over_lines

SAMPLE = 1 << 15
"""Size of the sample that brackets the k-th largest magnitude."""

MARGIN = 4.0
"""Standard deviations of the guess on either side: it fails about once in 16,000 calls."""

GROUP = 32
"""Entries that are tested together for being in the bracket."""

_SIGN = np.int32(0x7FFFFFFF)


def kth_largest_magnitude(values: npt.NDArray[np.float32], k: int) -> np.float32:
    """Return the k-th largest ``|v|``.

    Parameters
    ----------
    values : ndarray
        float32, contiguous, any shape, without NaN.
    k : int
        From 1 to the number of entries.

    Notes
    -----
    Non-negative float32 order as their bit patterns do. Two order statistics of a random sample
    bracket the answer (Floyd and Rivest, "Expected time bounds for selection", CACM 18, 1975). One
    pass counts what lies above and on them and gathers what lies between, about a hundredth, in
    which `numpy.partition` finishes. A bracket that misses costs time, never exactness.
    """
    bits = values.reshape(-1).view(np.int32)
    count = len(bits)
    if count <= 4 * SAMPLE:
        return _finish(np.abs(values.reshape(-1)).view(np.int32), k)
    low, high = _bracket(bits, k)
    parts = over_lines(_split, count, 1, bits, low, high)
    above, on_high, from_low = (sum(part[i] for part in parts) for i in range(3))
    if k <= above:
        return _finish(_beyond(bits, high, _SIGN), k)
    if k <= above + on_high:
        return _float(high)
    between = np.concatenate([part[3] for part in parts])
    if k <= above + on_high + len(between):
        return _finish(between, k - above - on_high)
    if k <= from_low:
        return _float(low)
    return _finish(_beyond(bits, np.int32(-1), low), k - from_low)


def largest_magnitude(values: npt.NDArray[np.float32]) -> np.float32:
    """Return the largest ``|v|`` of contiguous float32 `values`, or NaN where there is one.

    Parameters
    ----------
    values : ndarray[float32]
        Any shape, at least one entry.
    """
    bits = values.reshape(-1).view(np.int32)
    return _float(max(over_lines(_largest, len(bits), 1, bits)))


def kth_largest_magnitudes(values: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
    """Return the k-th largest ``|v|`` of each row of contiguous float32 ``[rows, count]``.

    Parameters
    ----------
    values : ndarray[float32]
        Without NaN.
    k : int
        From 1 to the entries of a row.
    """
    magnitudes = values.view(np.int32) & _SIGN
    rows, count = magnitudes.shape

    def select(start: int, stop: int) -> None:
        magnitudes[start:stop].partition(count - k, axis=1)

    over_lines(select, rows, count)
    return magnitudes[:, count - k].copy().view(np.float32)


def largest_magnitudes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the largest ``|v|`` of each row of contiguous float32 ``[rows, count]``.

    Parameters
    ----------
    values : ndarray[float32]
        At least one column.
    """
    bits = values.view(np.int32)
    largest = np.empty(len(bits), np.int32)
    over_lines(_largest_of_rows, *bits.shape, bits, largest)
    return largest.view(np.float32)


def _bracket(bits: npt.NDArray[np.int32], k: int) -> tuple[np.int32, np.int32]:
    """Guess two bit patterns between which the k-th largest lies."""
    drawn = np.random.default_rng(0).integers(0, len(bits), SAMPLE)
    sample = np.sort(bits[drawn] & _SIGN)[::-1]
    share = k / len(bits)
    reach = MARGIN * math.sqrt(share * (1 - share) / SAMPLE) + 1 / SAMPLE
    first = max(0, math.floor((share - reach) * SAMPLE))
    last = min(SAMPLE - 1, math.ceil((share + reach) * SAMPLE))
    return sample[last], sample[first]


def _beyond(bits: npt.NDArray[np.int32], low: np.int32, high: np.int32) -> npt.NDArray[np.int32]:
    """Return the magnitudes strictly between two, on one side of a bracket that missed."""
    magnitudes = bits & _SIGN
    return magnitudes[(magnitudes > low) & (magnitudes < high)]


def _finish(magnitudes: npt.NDArray[np.int32], k: int) -> np.float32:
    place = len(magnitudes) - k
    return _float(np.partition(magnitudes, place)[place])


def _float(pattern: np.int32) -> np.float32:
    # In a Python float it would be 0 where subnormal numbers are flushed.
    return np.int32(pattern).view(np.float32)


@njit(cache=True, nogil=True)
def _largest(start: Any, stop: Any, bits: Any) -> Any:
    part = bits[start:stop]
    largest = np.int32(0)
    for index in range(len(part)):
        largest = max(largest, np.int32(part[index] & _SIGN))
    return largest


@njit(cache=True, nogil=True)
def _largest_of_rows(start: Any, stop: Any, bits: Any, out: Any) -> None:
    for row in range(start, stop):
        part = bits[row]
        largest = np.int32(0)
        for index in range(len(part)):
            largest = max(largest, np.int32(part[index] & _SIGN))
        out[row] = largest


@njit(cache=True, nogil=True)
def _split(start: Any, stop: Any, bits: Any, low: Any, high: Any) -> Any:
    """Count what lies above `high`, on it and from `low` on, and gather what lies between the two.

    Groups of entries without any from `low` to `high` are passed over at once.
    """
    found = np.empty((stop - start) // 32 + GROUP, np.int32)
    lowest, width = np.int32(low + 1), np.uint32(max(0, high - low - 1))
    above = on_high = from_low = between = 0
    for first in range(start, stop, GROUP):
        group = bits[first : min(first + GROUP, stop)]
        over = reached = np.int32(0)
        for index in range(len(group)):
            magnitude = np.int32(group[index] & _SIGN)
            over = np.int32(over + np.int32(magnitude > high))
            reached = np.int32(reached + np.int32(magnitude >= low))
        above += int(over)
        from_low += int(reached)
        if reached == over:
            continue
        if between + GROUP > len(found):
            found = np.concatenate((found, np.empty_like(found)))
        for index in range(len(group)):
            magnitude = np.int32(group[index] & _SIGN)
            # Written without asking, and kept by counting it: there is no branch to guess.
            found[between] = magnitude
            between += int(np.uint32(magnitude - lowest) < width)
            on_high += int(magnitude == high)
    return above, on_high, from_low, found[:between]
