"""Speed-ups against a float baseline, another backend or another run, with their intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from accelsim.errors import InputError, unknown_name
from accelsim.measure.ratios import TimeRatio, explain_doubts, time_ratio
from accelsim.measure.statistics import FEWEST, Interval
from accelsim.records import record_key
from accelsim.report.fields import lookup

TOTAL = "time_ms.total"

_Row: TypeAlias = dict[str, Any]
_Times: TypeAlias = tuple[float, list[float]]
"""The median of some repeats, and all of them where they are known."""


def add_speedup(records: Sequence[_Row], baseline: str) -> tuple[str, dict[str, str]]:
    """Put the speed-up against `baseline` into every record that has a total time.

    ``speedup_vs[baseline]`` is the baseline's median over the record's, None where that is not a
    result (`accelsim.measure.ratios`); ``speedup_low[baseline]`` and ``speedup_high[baseline]``
    are the ends of its 95% interval, where both have at least
    `accelsim.measure.statistics.FEWEST` repeats; ``speedup_approximate[baseline]`` says whether
    there is a doubt about it.

    Parameters
    ----------
    records : sequence of dict
        Records as mappings, each with the name of its ``run``. They are changed.
    baseline : str
        A float baseline; a backend, whose record of the same GEMM and settings in the same run is
        compared with; or a run, whose record of the same key is.

    Returns
    -------
    str
        The name of the field.
    dict
        What there is to say of it: why some are approximate, or not a result.

    Raises
    ------
    InputError
        If nothing has this name, or it was never timed.
    """
    floats = {name for record in records for name in record["baselines"]}
    backends = {record["backend"] for record in records}
    runs = {record["run"] for record in records}
    runs = runs if len(runs) > 1 else set()
    own = [total_times(record) for record in records]
    if baseline in floats:
        reference = [_float_times(record, baseline) for record in records]
    elif baseline in backends:
        reference = _matched(records, own, lambda r: r["backend"] == baseline, _without_backend)
    elif baseline in runs:
        reference = _matched(records, own, lambda r: r["run"] == baseline, record_key)
    else:
        raise _unknown_baseline(baseline, floats | backends | runs)
    found: list[TimeRatio] = []
    for record, mine, other in zip(records, own, reference, strict=True):
        if other is None or mine is None or not mine[0]:
            continue
        load = lookup(record, "timing.load_per_core")
        ratio = (
            TimeRatio(Interval(1.0, 1.0, 1.0))  # of a record and itself, however its times spread
            if other is mine
            else time_ratio([mine[1] or [mine[0]]], [other[1] or [other[0]]], load)
        )
        if ratio is None:
            continue
        found.append(ratio)
        _put(record, "speedup_vs", baseline, ratio.value)
        _put(record, "speedup_approximate", baseline, ratio.approximate)
        if min(len(mine[1]), len(other[1])) >= FEWEST and not ratio.void:
            _put(record, "speedup_low", baseline, ratio.interval.low)
            _put(record, "speedup_high", baseline, ratio.interval.high)
    if not found:
        raise InputError(f"no speed-up against {baseline}: there are no times to compare")
    return f"speedup_vs.{baseline}", explain_doubts(found)


def _unknown_baseline(baseline: str, known: set[str]) -> InputError:
    from gemm_backends.baselines import list_baselines  # torch is slow to load

    if baseline not in list_baselines():
        return InputError(unknown_name("baseline", baseline, known))
    return InputError(
        f"no run timed {baseline} (there are: {', '.join(sorted(known))}); "
        f"its config needs baselines: [{baseline}]"
    )


def total_times(record: Mapping[str, Any]) -> _Times | None:
    """Return the median total of a record and its repeats, or None if it was not timed."""
    median = lookup(record, TOTAL)
    return None if median is None else (median, record.get("samples_ms", {}).get("total", []))


def _float_times(record: _Row, baseline: str) -> _Times | None:
    median = record["baselines"].get(baseline)
    if median is None:
        return None
    return median, record.get("baseline_samples_ms", {}).get(baseline, [])


def _matched(
    records: Sequence[_Row],
    own: Sequence[_Times | None],
    is_reference: Callable[[_Row], bool],
    key: Callable[[_Row], tuple[str, ...]],
) -> list[_Times | None]:
    """Return the times of the reference with the same key, for each record.

    A backend with several options has several references: their median. A record that is its only
    reference gets its entry of `own` itself.
    """
    times: dict[tuple[str, ...], list[_Times]] = defaultdict(list)
    for record, mine in zip(records, own, strict=True):
        if is_reference(record) and mine is not None:
            times[key(record)].append(mine)
    return [_joined(times[k]) if (k := key(record)) in times else None for record in records]


def _joined(found: list[_Times]) -> _Times:
    if len(found) == 1:
        return found[0]
    medians = sorted(median for median, _ in found)
    middle = len(medians) // 2
    median = (medians[middle] + medians[~middle]) / 2
    return median, []


def _without_backend(record: _Row) -> tuple[str, ...]:
    """Return the key of a record without its backend, and with its run."""
    return (record["run"], *record_key({**record, "backend": "", "backend_options": {}}))


def _put(record: _Row, field: str, name: str, value: float | None) -> None:
    record[field] = {**record.get(field, {}), name: value}
