"""The page's table of two runs: what changed, record by record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.errors import InputError
from accelsim.records.fields import FIELDS, SETTINGS, meaning
from accelsim.report.cells import count, milliseconds, ratio, text
from accelsim.report.described import Described
from accelsim.report.html.grid import Column, Grid
from accelsim.report.regressions import MEANINGS, Change, Regressions, find_regressions
from accelsim.report.speedups import total_times

_COUNTED = {"ratio": ratio, "low_bit_macs": count, "cycles": count, "energy": "{:.3g}".format}
"""Fields that do not depend on the machine, and how changes of them are shown."""

_ORDER = list(MEANINGS)


@dataclass(frozen=True)
class Comparison:
    """A later run compared with the first.

    Parameters
    ----------
    refused : str
        Why the two cannot be compared; empty if they can.
    found : Regressions, optional
        What the comparison found.
    grid : Grid, optional
        The table of all records.
    """

    refused: str
    found: Regressions | None = None
    grid: Grid[Change] | None = None


def compared(runs: Sequence[Described], tolerance: float) -> list[Comparison]:
    """Compare each later run with the first, or say why that cannot be done.

    Parameters
    ----------
    runs : sequence of Described
        At least one.
    tolerance : float
        0.05 allows 5%.
    """
    first, *others = runs
    found = []
    old = _rows(first) if others else []
    for index, later in enumerate(others):
        records = [*old, *_rows(later)]
        try:
            regressions = find_regressions(records, first.name, later.name, tolerance)
        except InputError as error:
            found.append(Comparison(f"{later.name} against {first.name}: {error}"))
            continue
        rows = sorted(regressions.changes, key=_rank)
        columns = _columns(rows, first, later)
        found.append(Comparison("", regressions, Grid(f"differences-{index}", columns, rows)))
    return found


def _rows(run: Described) -> list[Mapping[str, Any]]:
    """Return the records as mappings, with the name of their run and of their backend."""
    return [
        {"run": run.name, "label": run.labels.backend(record), **record.to_dict()}
        for record in run.records
    ]


def _rank(change: Change) -> tuple[int, float]:
    return _ORDER.index(change.verdict), -(change.ratio.value if change.ratio else 0.0)


def _columns(rows: Sequence[Change], first: Described, later: Described) -> list[Column[Change]]:
    fields = [
        field
        for field in ("workload", "gemm", *SETTINGS)
        if field == "gemm" or len({text(row.record[field]) for row in rows}) > 1
    ]
    return [
        Column(
            "verdict", "; ".join(f"{k}: {v}" for k, v in MEANINGS.items()),
            lambda change: change.verdict, rank="always", classed=True,
        ),
        *(
            Column[Change](
                FIELDS[field].title, meaning(field) or "",
                lambda change, field=field: change.record[field],  # type: ignore[misc]
                rank="always" if field in ("gemm", "beta", "bits") else "wide",
            )
            for field in dict.fromkeys(fields)
        ),
        Column("backend", "", lambda change: change.record["label"], rank="always"),
        Column(f"{first.name}, ms", "its median total", _time("old"), milliseconds),
        Column(f"{later.name}, ms", "its median total", _time("new"), milliseconds),
        Column(
            "times as long", "the later run's median over the first one's",
            lambda change: change.ratio and change.ratio.value, _factor, rank="always",
        ),
        Column("from", "the lower end of its 95% interval", _end("low"), _factor),
        Column("to", "the upper end", _end("high"), _factor),
        Column("p", "of the hypothesis that it is not slower", lambda c: c.p, "{:.2g}".format),
        *(
            Column[Change](
                f"{FIELDS[field].title}: {run.name}", f"{meaning(field)}, where it changed",
                _changed(field, side), _COUNTED[field],
            )
            for field in _COUNTED
            for side, run in (("old", first), ("new", later))
        ),
    ]  # fmt: skip


def _factor(value: float) -> str:
    return f"{value:.3g}"


def _time(side: str) -> Callable[[Change], float | None]:
    def value(change: Change) -> float | None:
        record = getattr(change, side)
        found = None if record is None else total_times(record)
        return None if found is None else found[0]

    return value


def _end(end: str) -> Callable[[Change], float | None]:
    return lambda change: None if change.ratio is None else getattr(change.ratio, end)


def _changed(field: str, side: str) -> Callable[[Change], Any]:
    """Return a value of one run if both have it and it differs."""

    def value(change: Change) -> Any:
        if change.old is None or change.new is None or change.old[field] == change.new[field]:
            return None
        return getattr(change, side)[field]

    return value
