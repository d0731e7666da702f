"""Statistics of repeated times: medians with intervals, outliers, ratios, and tests.

No distribution is assumed anywhere: times are skewed, and often have several modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
"""Confidence level of every interval that accelsim prints."""

TAIL = 40
"""An interval may leave out one in so many on each side."""

FEWEST = 6
"""Fewest samples of which two order statistics can span that interval of the median."""


@dataclass(frozen=True)
class Interval:
    """An estimate with a confidence interval.

    Parameters
    ----------
    value, low, high : float
        The estimate and the ends of its 95% interval.
    """

    value: float
    low: float
    high: float


def median_interval(times: Sequence[float]) -> Interval:
    """Return the median with the interval that two order statistics span.

    The interval holds the true median with a probability of at least 95%, whatever the
    distribution. Below `FEWEST` times no two of them do: the smallest and the largest are then
    returned, which cover it with probability ``1 - 2**(1 - n)``.

    Parameters
    ----------
    times : sequence of float
        At least one.

    References
    ----------
    H. A. David and H. N. Nagaraja, *Order Statistics*, 3rd ed., section 7.1.
    """
    ordered = sorted(times)
    rank, middle = _rank(len(ordered)), len(ordered) // 2
    value = (ordered[middle] + ordered[-1 - middle]) / 2
    return Interval(value, ordered[rank], ordered[-1 - rank])


@cache
def _rank(count: int) -> int:
    """Return how many of the smallest and of the largest values lie outside the interval."""
    ways = below = 1  # of 2^count, that just so many, and at most so many, lie below the median
    outside = 0
    while TAIL * below < 1 << count:
        ways = ways * (count - outside) // (outside + 1)
        below += ways
        outside += 1
    return max(0, outside - 1)


def relative_error(times: Sequence[float]) -> float | None:
    """Return half the width of the median's interval over the median; infinite for median 0.

    None below `FEWEST` times, which have no such interval.
    """
    if len(times) < FEWEST:
        return None
    interval = median_interval(times)
    if interval.value == 0:
        return math.inf if interval.high else 0.0
    return (interval.high - interval.low) / 2 / interval.value


def outliers(times: Sequence[float]) -> int:
    """Count the times beyond Tukey's fences, 1.5 interquartile ranges outside the quartiles."""
    low, high = np.percentile(times, (25, 75))
    margin = 1.5 * (high - low)
    return sum(bool(time < low - margin or time > high + margin) for time in times)


def sum_interval(parts: Sequence[Interval]) -> Interval:
    """Return the sum of independent estimates with its interval.

    Parameters
    ----------
    parts : sequence of Interval
        At least one.

    References
    ----------
    G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general
    approach", Statist. Med. 27 (2008): each limit lies as far from the estimate as the distances
    of the parts' limits, added as squares.
    """
    value = math.fsum(part.value for part in parts)
    below = math.hypot(*(part.value - part.low for part in parts))
    above = math.hypot(*(part.high - part.value for part in parts))
    return Interval(value, value - below, value + above)


def quotient_interval(dividend: Interval, divisor: Interval) -> Interval:
    """Return the quotient of two independent estimates of times with its interval.

    The limits are those of Zou and Donner (see `sum_interval`) for the difference of the
    logarithms; a time of 0 has a logarithm of minus infinity.

    Parameters
    ----------
    dividend, divisor : Interval
        No end is negative, and the divisor's value is not 0.
    """
    below = math.hypot(_log(dividend.value, dividend.low), _log(divisor.high, divisor.value))
    above = math.hypot(_log(dividend.high, dividend.value), _log(divisor.value, divisor.low))
    value = dividend.value / divisor.value
    high = value * math.exp(above) if above < _LARGEST_EXPONENT else math.inf
    return Interval(value, value * math.exp(-below), high)


_LARGEST_EXPONENT = 600
"""Far beyond any ratio of times, and its exponential is still a float."""


def _log(larger: float, smaller: float) -> float:
    """Return the distance of two logarithms; 0 for equal numbers, 0 included."""
    if larger == smaller:
        return 0.0
    return math.log(larger / smaller) if smaller > 0 else math.inf


def speedup(times: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return the median of `reference` over the median of `times`, with its interval.

    It covers the spread of the repeats, not changes from one process or one day to the next.

    Parameters
    ----------
    times, reference : sequence of float
        Repeated times, at least one each, in the same unit; the median of `times` is not 0.
    """
    return quotient_interval(median_interval(reference), median_interval(times))


def slower_p(times: Sequence[float], reference: Sequence[float], tolerance: float) -> float:
    """Return the p-value of "not slower than the reference by more than the tolerance".

    The one-sided Mann-Whitney U test of `times` against every reference time lengthened by the
    tolerance: exact for up to 8 untied times a side, with the normal approximation, corrected for
    ties, beyond that.

    Parameters
    ----------
    times, reference : sequence of float
        Repeated times.
    tolerance : float
        0.05 allows 5%.

    References
    ----------
    H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is
    stochastically larger than the other", Ann. Math. Statist. 18 (1947).
    """
    from scipy import stats  # takes a second to import, which no other command has to wait for

    allowed = [(1 + tolerance) * time for time in reference]
    return float(stats.mannwhitneyu(times, allowed, alternative="greater").pvalue)


def smallest_p(times: int, reference: int) -> float:
    """Return the smallest p-value that `slower_p` can give for these numbers of repeats."""
    return 1 / math.comb(times + reference, times)


def significant(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which hypotheses fall when the false discovery rate is held at `rate`.

    References
    ----------
    Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57
    (1995).
    """
    if not p_values:
        return []
    from scipy import stats

    adjusted = stats.false_discovery_control(p_values)
    return [bool(value <= rate) for value in adjusted]
