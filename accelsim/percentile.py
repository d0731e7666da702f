"""The largest magnitude of a tensor and the k-th largest, exactly, in one pass and in two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from accelsim.parallel import over_lines

SAMPLE = 1 << 15
"""Entries drawn to guess where the k-th largest lies."""

MARGIN = 4.0
"""Standard deviations of the guess on either side: it fails about once in 16,000 calls."""

GROUP = 32
"""Entries that are looked at together for any that lies in the bracket."""

_SIGN = np.int32(0x7FFFFFFF)


def kth_largest_magnitude(values: npt.NDArray[np.float32], k: int) -> float:
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
    pass counts what lies above, on and between them; one more gathers what lies between, about a
    hundredth, and `numpy.partition` finishes there. A bracket that misses costs time, never
    exactness.
    """
    bits = values.reshape(-1).view(np.int32)
    count = len(bits)
    if count <= 4 * SAMPLE:
        return _finish(np.abs(values.reshape(-1)).view(np.int32), k)
    low, high = _bracket(bits, k)
    tallies = over_lines(_tally, count, 1, bits, low, high)
    above, on_high, between, on_low = (int(total) for total in np.sum(tallies, axis=0))
    if k <= above:
        return _finish(_gather(bits, high, _SIGN), k)
    if k <= above + on_high:
        return _float(high)
    k -= above + on_high
    if k <= between:
        return _finish(_gather(bits, low, high), k)
    if k <= between + on_low:
        return _float(low)
    return _finish(_gather(bits, np.int32(-1), low), k - between - on_low)


def largest_magnitude(values: npt.NDArray[np.float32]) -> float:
    """Return the largest ``|v|`` of contiguous float32 `values`, or NaN where there is one."""
    bits = values.reshape(-1).view(np.int32)
    return _float(max(over_lines(_largest, len(bits), 1, bits)))


def _bracket(bits: npt.NDArray[np.int32], k: int) -> tuple[np.int32, np.int32]:
    """Guess two bit patterns between which the k-th largest lies."""
    drawn = np.random.default_rng(0).integers(0, len(bits), SAMPLE)
    sample = np.sort(bits[drawn] & _SIGN)[::-1]
    share = k / len(bits)
    reach = MARGIN * math.sqrt(share * (1 - share) / SAMPLE) + 1 / SAMPLE
    first = max(0, math.floor((share - reach) * SAMPLE))
    last = min(SAMPLE - 1, math.ceil((share + reach) * SAMPLE))
    return sample[last], sample[first]


def _gather(bits: npt.NDArray[np.int32], low: np.int32, high: np.int32) -> npt.NDArray[np.int32]:
    """Return the magnitudes strictly between two."""
    return np.concatenate(over_lines(_between, len(bits), 1, bits, low, high))


def _finish(magnitudes: npt.NDArray[np.int32], k: int) -> float:
    place = len(magnitudes) - k
    return _float(np.partition(magnitudes, place)[place])


def _float(pattern: np.int32) -> float:
    return float(np.int32(pattern).view(np.float32))


@njit(cache=True, nogil=True)
def _largest(start: Any, stop: Any, bits: Any) -> Any:
    part = bits[start:stop]
    largest = np.int32(0)
    for index in range(len(part)):
        largest = max(largest, part[index] & _SIGN)
    return largest


@njit(cache=True, nogil=True)
def _tally(start: Any, stop: Any, bits: Any, low: Any, high: Any) -> Any:
    """Count what lies above `high`, on it, between, and on `low`."""
    part = bits[start:stop]
    above = from_high = above_low = from_low = 0
    for index in range(len(part)):
        magnitude = part[index] & _SIGN
        above += magnitude > high
        from_high += magnitude >= high
        above_low += magnitude > low
        from_low += magnitude >= low
    if low == high:
        return above, from_high - above, 0, 0
    return above, from_high - above, above_low - from_high, from_low - above_low


@njit(cache=True, nogil=True)
def _between(start: Any, stop: Any, bits: Any, low: Any, high: Any) -> Any:
    """Gather what lies between; groups of entries without any are passed over at once."""
    found = np.empty(_tally(start, stop, bits, low, high)[2], np.int32)
    place = 0
    for first in range(start, stop, GROUP):
        group = bits[first : min(first + GROUP, stop)]
        some = 0
        for index in range(len(group)):
            magnitude = group[index] & _SIGN
            some += (magnitude > low) & (magnitude < high)
        if some:
            for index in range(len(group)):
                magnitude = group[index] & _SIGN
                if low < magnitude < high:
                    found[place] = magnitude
                    place += 1
    return found
