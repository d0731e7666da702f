"""The drift of the machine between two runs, as shown by what both timed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from accelsim.errors import InputError
from accelsim.measure.ratios import WIDEST
from accelsim.measure.statistics import Interval, speedup
from accelsim.report.cells import number

OUTSIDE = 0.025
"""The share of float GEMMs beyond each end of the drift, where there are many."""


@dataclass(frozen=True)
class Drift:
    """The factors by which the time of unchanged code differs between two runs.

    Parameters
    ----------
    low, high : float
        From the least to the largest, the repeats' intervals included.
    count : int
        The float GEMMs that show it; 0 if none was timed in both runs.
    """

    low: float
    high: float
    count: int

    @property
    def words(self) -> str:
        """Describe the drift and its source."""
        if not self.count:
            return "no float GEMM was timed in both runs, so the median record stands for the drift"
        return (
            f"the machine's drift: {self.count} float GEMMs took {number(self.low)} to "
            f"{number(self.high)} times as long"
        )


def find_drift(pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Drift | None:
    """Return the drift of the times of float GEMMs in two runs.

    Parameters
    ----------
    pairs : iterable of tuple
        The old and the new record of everything that both runs have.

    Returns
    -------
    Drift or None
        None if no float GEMM was timed in both.

    Raises
    ------
    InputError
        If the machine drifted so much that times cannot be compared.
    """
    found = list(_changes(pairs).values())
    if not found:
        return None
    lows, highs = sorted(i.low for i in found), sorted(i.high for i in found)
    outside = int(OUTSIDE * len(found))
    drift = Drift(lows[outside], highs[-1 - outside], len(found))
    if drift.high > WIDEST * drift.low:
        raise InputError(
            "the times of the two runs cannot be compared: by the intervals of their times "
            f"{drift.count} float GEMMs took {number(drift.low)} to {number(drift.high)} times "
            "as long, so the machine was not the same or was busy; run both again, in turn, on a "
            "quiet machine"
        )
    return drift


def assumed_drift(ratios: Sequence[float], tolerance: float, called: bool) -> Drift:
    """Return a substitute for the drift if no float GEMM was timed in both runs.

    The median record does, if it is not slower itself.

    Parameters
    ----------
    ratios : sequence of float
        The new time over the old one of each timed record, at least one.
    tolerance : float
        0.05 allows 5%.
    called : bool
        Whether a record would be called slower if the machine had not changed.

    Raises
    ------
    InputError
        If it would, and so is the median record: a slower machine looks the same.
    """
    middle = median(ratios)
    if called and middle > 1 + tolerance:
        raise InputError(
            "the times of the two runs cannot be compared: the median record took "
            f"{number(middle)} times as long, and no float GEMM was timed in both runs that would "
            "tell a slower machine from slower code; run both with baselines: [fp32]"
        )
    return Drift(min(1.0, middle), max(1.0, min(middle, 1 + tolerance)), 0)


def _changes(
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> dict[tuple[object, ...], Interval]:
    """Return the change of each float GEMM; one that several records share counts once."""
    found = {}
    for old, new in pairs:
        for name in old["baselines"].keys() & new["baselines"].keys():
            before, after = (
                record["baseline_samples_ms"].get(name) or [record["baselines"][name]]
                for record in (old, new)
            )
            if min(before) > 0:
                key = (name, old["workload"], old["gemm"], *before[:3], *after[:3])
                found[key] = speedup(before, after)
    return found
