"""Whether one run is slower than another, decided by a test on all repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.errors import InputError
from accelsim.measure.statistics import Interval, significant, slower_p, smallest_p, speedup
from accelsim.records import record_key
from accelsim.report.cells import number, text
from accelsim.report.speedups import total_times

RATE = 0.05
"""The false discovery rate: of the records called slower, so many are expected to be wrong."""


@dataclass(frozen=True)
class Change:
    """One record of two runs.

    Parameters
    ----------
    name : str
        The GEMM, its settings and the backend.
    ratio : Interval
        The new median over the old one.
    p : float
        Of the hypothesis that it is not slower by more than the tolerance.
    slower : bool
        Whether that is refuted.
    """

    name: str
    ratio: Interval
    p: float
    slower: bool


@dataclass(frozen=True)
class Regressions:
    """How a run compares with an older one.

    Parameters
    ----------
    old, new : str
        The runs' names.
    tolerance : float
        0.05 allows 5%.
    changes : list of Change
        All records that both runs timed.
    broken : list of str
        Records that were exact and no longer are.
    missing : int
        Records that were exact and are not there.
    """

    old: str
    new: str
    tolerance: float
    changes: list[Change]
    broken: list[str]
    missing: int

    @property
    def failed(self) -> bool:
        """Whether anything is slower or no longer exact."""
        return bool(self.broken) or any(change.slower for change in self.changes)

    def lines(self) -> list[str]:
        """Say it, the verdict first."""
        slower = [change for change in self.changes if change.slower]
        limit = 1 + self.tolerance
        unsure = [c for c in self.changes if not c.slower and c.ratio.value > limit]
        verdict = "FAILED" if self.failed else "passed"
        lines = [
            f"{self.new} against {self.old}: {verdict}: {len(slower)} of {len(self.changes)} "
            f"records slower by more than {100 * self.tolerance:g}% (Mann-Whitney U test on all "
            f"repeats, false discovery rate {100 * RATE:g}%)"
        ]
        lines += [f"  slower: {_said(c)}" for c in sorted(slower, key=lambda c: -c.ratio.value)]
        lines += [f"  no longer exact: {name}" for name in self.broken]
        lines += [f"  slower in the median, but within the noise: {_said(c)}" for c in unsure]
        if self.missing:
            lines.append(f"  {self.missing} records of {self.old} are not in {self.new}")
        return lines


def _said(change: Change) -> str:
    ratio = change.ratio
    return (
        f"{change.name}: {number(ratio.value)} times as long "
        f"[{number(ratio.low)}, {number(ratio.high)}], p = {change.p:.2g}"
    )


def find_regressions(
    records: Sequence[Mapping[str, Any]], old: str, new: str, tolerance: float
) -> Regressions:
    """Compare every record of two runs that has the same key.

    Parameters
    ----------
    records : sequence of mapping
        The records of both runs, each with the name of its ``run``.
    old, new : str
        The names of the runs.
    tolerance : float
        0.05 allows 5%.

    Raises
    ------
    InputError
        If the runs have no timed record in common, records without their repeats, or so few
        repeats that no result could ever be called slower.
    """
    before = {record_key(record): record for record in records if record["run"] == old}
    after = {record_key(record): record for record in records if record["run"] == new}
    exact = [key for key, record in before.items() if record["exact"]]
    broken = [_name(after[key]) for key in exact if key in after and _is_broken(after[key])]
    pairs = []
    for key in exact:
        mine, other = total_times(after.get(key, {})), total_times(before[key])
        if mine is not None and other is not None and after[key]["exact"]:
            pairs.append((_name(after[key]), mine[1], other[1]))
    if not pairs and not broken:
        raise InputError(f"{old} and {new} have no exact, timed record in common")
    for run, samples in ((new, [pair[1] for pair in pairs]), (old, [pair[2] for pair in pairs])):
        if not all(samples):
            raise InputError(f"{run} has records without their repeats (samples_ms): run it again")
    if pairs and min(smallest_p(len(mine), len(other)) for _, mine, other in pairs) > RATE:
        raise InputError(
            f"too few repeats in {old} or {new} to call anything slower at {100 * RATE:g}%: "
            "4 in each are the least, 10 or more are better (timing.repeats)"
        )
    p_values = [slower_p(mine, other, tolerance) for _, mine, other in pairs]
    changes = [
        Change(name, speedup(other, mine), p, slower)
        for (name, mine, other), p, slower in zip(
            pairs, p_values, significant(p_values, RATE), strict=True
        )
    ]
    missing = sum(key not in after for key in exact)
    return Regressions(old, new, tolerance, changes, broken, missing)


def _is_broken(record: Mapping[str, Any]) -> bool:
    return not record["exact"] and record["status"] not in ("unavailable", "unsupported")


def _name(record: Mapping[str, Any]) -> str:
    options = [text(record["backend_options"])] if record["backend_options"] else []
    return " ".join(
        [
            f"{record['workload']}/{record['gemm']}",
            f"β={text(record['beta'])}",
            f"b={text(record['bits'])}",
            record["strategy"],
            record["digits"],
            record["backend"],
            *options,
        ]
    )
