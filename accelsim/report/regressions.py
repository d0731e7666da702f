"""Whether one run is slower than another, decided by a test on all repeats and on the drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from accelsim.errors import InputError
from accelsim.measure.statistics import Interval, significant, slower_p, smallest_p, speedup
from accelsim.records import RecordKey, record_key
from accelsim.report.cells import number, text
from accelsim.report.drift import Drift, assumed_drift, find_drift
from accelsim.report.option_names import OptionNames
from accelsim.report.speedups import total_times

RATE = 0.05
"""The false discovery rate: of the records called slower, this share is expected to be wrong."""

MOST_LINES = 20
"""Records that the text lists at most."""

Verdict: TypeAlias = Literal["slower", "faster", "same", "unsure", "broken", "missing", "new", "–"]

MEANINGS: dict[Verdict, str] = {
    "slower": "by more than the tolerance and the drift, by the test",
    "faster": "faster by more than the tolerance and the drift, by the test",
    "same": "not slower by more than the tolerance and the drift",
    "unsure": "slower in the median, but within the noise",
    "broken": "it was exact and is not any more",
    "missing": "only the first run has it",
    "new": "only the later run has it",
    "–": "exact in both or in neither, and not timed in both",
}

_Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One record of two runs.

    Parameters
    ----------
    old, new : mapping or None
        The record in each run; None where it is missing.
    verdict : str
        One of `MEANINGS`.
    ratio : Interval, optional
        The new median time over the old one.
    p : float, optional
        Of the hypothesis that it is not slower by more than the tolerance and the drift.
    """

    old: _Row | None
    new: _Row | None
    verdict: Verdict
    ratio: Interval | None = None
    p: float | None = None

    @property
    def record(self) -> _Row:
        """The record of the later run, or of the first if that is the only one."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def slower(self) -> bool:
        """Whether it is called slower."""
        return self.verdict == "slower"


@dataclass(frozen=True)
class Regressions:
    """The comparison of a run with an older one.

    Parameters
    ----------
    old, new : str
        The runs' names.
    tolerance : float
        0.05 allows 5%.
    changes : list of Change
        All records of either run.
    drift : Drift or None
        Of the machine; None if nothing was timed in both runs.
    """

    old: str
    new: str
    tolerance: float
    changes: list[Change]
    drift: Drift | None

    @property
    def counts(self) -> Counter[str]:
        """The number of records with each verdict."""
        return Counter(change.verdict for change in self.changes)

    @property
    def failed(self) -> bool:
        """Whether anything is slower or no longer exact."""
        return bool(self.counts["slower"] or self.counts["broken"])

    @property
    def verdict(self) -> str:
        """Return one line that says whether it is slower."""
        counts = self.counts
        timed = sum(change.ratio is not None for change in self.changes)
        beyond = f"{100 * self.tolerance:g}%"
        if self.drift is not None and self.drift.count:
            beyond += " and the drift"
        more = [
            f"{counts[name]} {words}"
            for name, words in {
                "broken": "no longer exact", "faster": "faster", "new": f"only in {self.new}"
            }.items()
            if counts[name]
        ]  # fmt: skip
        return "; ".join(
            [
                f"{self.new} against {self.old}: {'FAILED' if self.failed else 'passed'}: "
                f"{counts['slower']} of {timed} records slower by more than {beyond}",
                *more,
            ]
        )

    def lines(self) -> list[str]:
        """Return the text: verdict, regressions, uncertain records, and method."""
        shown = [c for c in self.changes if c.verdict in _TOLD]
        shown.sort(key=lambda c: (list(_TOLD).index(c.verdict), -(c.ratio.value if c.ratio else 0)))
        names = OptionNames(row for c in self.changes for row in (c.old, c.new) if row)
        lines = [
            self.verdict,
            *(f"  {_TOLD[c.verdict]}: {_said(c, names)}" for c in shown[:MOST_LINES]),
        ]
        if len(shown) > MOST_LINES:
            lines.append(f"  and {len(shown) - MOST_LINES} more, which accelsim report shows")
        if self.counts["missing"]:
            lines.append(f"  {self.counts['missing']} records of {self.old} are not in {self.new}")
        if self.drift is not None:
            lines.append(
                f"  by a Mann-Whitney U test on all repeats, false discovery rate {100 * RATE:g}%; "
                f"{self.drift.words}"
            )
        return lines


_TOLD: dict[str, str] = {
    "slower": "slower",
    "broken": "no longer exact",
    "unsure": "slower in the median, but within the noise",
}


def _said(change: Change, names: OptionNames) -> str:
    name, ratio = _name(change.record, names), change.ratio
    if ratio is None:
        return name
    return (
        f"{name}: {number(ratio.value)} times as long "
        f"[{number(ratio.low)}, {number(ratio.high)}], p = {change.p:.2g}"
    )


def find_regressions(records: Sequence[_Row], old: str, new: str, tolerance: float) -> Regressions:
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
        If the runs have no timed record in common, records without their repeats, so few repeats
        that no result could ever be called slower, or if the drift of the machine is unknown or
        too large; not if a record is no longer exact, which needs no times.
    """
    before = {record_key(record): record for record in records if record["run"] == old}
    after = {record_key(record): record for record in records if record["run"] == new}
    changes = [Change(before.get(key), after.get(key), "–") for key in {**before, **after}]
    broken = [_compared(change) == "broken" for change in changes]
    try:
        timed, drift = _timed(before, after, tolerance, old, new)
    except InputError:
        if not any(broken):
            raise
        timed, drift = {}, None
    return Regressions(
        old, new, tolerance,
        [
            timed.get(record_key(change.record))
            or Change(change.old, change.new, _compared(change))
            for change in changes
        ],
        drift,
    )  # fmt: skip


def _compared(change: Change) -> Verdict:
    """Return the verdict on a record that was not timed in both runs."""
    if change.old is None:
        return "new"
    if change.new is None:
        return "missing"
    return "broken" if change.old["exact"] and _is_broken(change.new) else "–"


def _timed(
    before: Mapping[RecordKey, _Row],
    after: Mapping[RecordKey, _Row],
    tolerance: float,
    old: str,
    new: str,
) -> tuple[dict[RecordKey, Change], Drift]:
    """Test every record that both runs have timed, and that is exact in both."""
    pairs = {}
    for key in before.keys() & after.keys():
        mine, other = total_times(after[key]), total_times(before[key])
        both = before[key]["exact"] and after[key]["exact"]
        if both and mine is not None and other is not None and other[0] and mine[0]:
            pairs[key] = (mine[1], other[1])
    if not pairs:
        raise InputError(f"{old} and {new} have no exact, timed record in common")
    for run, side in ((new, 0), (old, 1)):
        if not all(pair[side] for pair in pairs.values()):
            raise InputError(f"{run} has records without their repeats (samples_ms): run it again")
    if min(smallest_p(len(mine), len(other)) for mine, other in pairs.values()) > RATE:
        raise InputError(
            f"too few repeats in {old} or {new} to call anything slower at {100 * RATE:g}%: "
            "4 in each are the least, 10 or more are better (timing.repeats)"
        )
    ratios = {key: speedup(other, mine) for key, (mine, other) in pairs.items()}
    drift = find_drift((before[key], after[key]) for key in before.keys() & after.keys())
    if drift is None:
        p_values = [slower_p(mine, other, tolerance) for mine, other in pairs.values()]
        values = [ratio.value for ratio in ratios.values()]
        drift = assumed_drift(values, tolerance, any(significant(p_values, RATE)))
    allowed = (1 + tolerance) * drift.high - 1
    slower = [slower_p(mine, other, allowed) for mine, other in pairs.values()]
    gained = (1 + tolerance) / drift.low - 1
    faster = [slower_p(other, mine, gained) for mine, other in pairs.values()]
    called = zip(significant(slower, RATE), significant(faster, RATE), strict=True)
    return {
        key: Change(before[key], after[key], _judged(ratios[key], *found, allowed), ratios[key], p)
        for key, found, p in zip(pairs, called, slower, strict=True)
    }, drift


def _judged(ratio: Interval, slower: bool, faster: bool, allowed: float) -> Verdict:
    if slower:
        return "slower"
    if faster:
        return "faster"
    return "unsure" if ratio.value > 1 + allowed else "same"


def _is_broken(record: _Row) -> bool:
    return not record["exact"] and record["status"] not in ("unavailable", "unsupported")


def _name(record: _Row, names: OptionNames) -> str:
    """Name a record: its GEMM, its settings and its backend with the options that tell it apart."""
    return " ".join(
        [
            f"{record['workload']}/{record['gemm']}",
            f"β={text(record['beta'])}",
            f"b={text(record['bits'])}",
            record["strategy"],
            record["digits"],
            record["backend"],
            *names.words(record["backend"], record["backend_options"]),
        ]
    )
