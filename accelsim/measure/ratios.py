"""Ratios of measured times, and whether they mean anything: the one rule of every output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelsim.measure.statistics import (
    FEWEST,
    Interval,
    median_interval,
    quotient_interval,
    sum_interval,
)

BUSY = 1.5
"""Processes per core above which a machine is busy: the run itself brings it to about 1."""

LOOSE = 0.1
"""Half the width of an interval, as a share of its value, above which a ratio is approximate."""

WIDEST = 2.0
"""The upper limit of an interval over its lower one above which a ratio is not a result."""


@dataclass(frozen=True)
class TimeRatio:
    """A ratio of times, and how far it can be trusted.

    Parameters
    ----------
    interval : Interval
        The ratio with its 95% interval; with fewer than `FEWEST` repeats the interval is that of
        the smallest and the largest, which covers less.
    doubts : tuple of str
        Why it is only approximate, a few words each; empty if it is not.
    void : str
        Why it is not a result; empty if it is one.
    """

    interval: Interval
    doubts: tuple[str, ...] = ()
    void: str = ""

    @property
    def value(self) -> float | None:
        """The ratio; None if it is not a result."""
        return None if self.void else self.interval.value

    @property
    def approximate(self) -> bool:
        """Whether there is a doubt about the ratio."""
        return bool(self.doubts)

    @property
    def percent(self) -> float:
        """Half the width of the interval, in percent of the ratio."""
        interval = self.interval
        return 50 * (interval.high - interval.low) / interval.value if interval.value else 0.0


def time_ratio(
    times: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
    load_per_core: float | None = None,
) -> TimeRatio | None:
    """Return the time of a reference over the time of something, both summed over their parts.

    The ratio is approximate if a part has fewer than `FEWEST` repeats, if half the width of the
    interval is more than `LOOSE` of the ratio, or if the machine was busy. It is not a result if
    the interval is wider than a factor of `WIDEST`.

    Parameters
    ----------
    times, reference : sequence of sequence of float
        The repeats of each part, such as of each GEMM, at least one each.
    load_per_core : float, optional
        The load average per core while they were timed.

    Returns
    -------
    TimeRatio or None
        None if the times are 0.
    """
    total = sum_interval([median_interval(part) for part in times])
    if not total.value:
        return None
    interval = quotient_interval(sum_interval([median_interval(part) for part in reference]), total)
    doubts = []
    fewest = min(len(part) for part in (*times, *reference))
    if fewest < FEWEST:
        doubts.append(f"fewer than {FEWEST} repeats known")
    if load_per_core is not None and load_per_core > BUSY:
        doubts.append("busy machine")
    ratio = TimeRatio(interval, tuple(doubts))
    if interval.high > WIDEST * interval.low:
        return TimeRatio(interval, ratio.doubts, f"the repeats spread over a factor of {WIDEST:g}")
    if ratio.percent > 100 * LOOSE:
        doubts.append(f"±{100 * LOOSE:g}% or more")
    return TimeRatio(interval, tuple(doubts))


def explain_doubts(ratios: Iterable[TimeRatio | None]) -> dict[str, str]:
    """Return what the marks of some ratios stand for: those in use, with the reasons and how many.

    Parameters
    ----------
    ratios : iterable of TimeRatio or None
        Those that are shown.

    Returns
    -------
    dict
        The tilde of approximate ratios and the dash of those that are not results, each with its
        meaning.
    """
    shown = [ratio for ratio in ratios if ratio is not None]
    about = Counter(doubt for ratio in shown if not ratio.void for doubt in ratio.doubts)
    void = Counter(ratio.void for ratio in shown if ratio.void)
    found = {}
    if about:
        found["~"] = f"approximate: {_counted(about, len(shown))}"
    if void:
        found["–"] = f"not a result: {_counted(void, len(shown))}"
    return found


def _counted(reasons: Counter[str], total: int) -> str:
    return "; ".join(f"{reason} ({count} of {total})" for reason, count in reasons.items())
