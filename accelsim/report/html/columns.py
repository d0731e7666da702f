"""What the columns of the page's tables show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from accelsim.measure.ratios import TimeRatio
from accelsim.measure.statistics import FEWEST
from accelsim.records import Record
from accelsim.records.fields import FIELDS, SETTINGS, STAGES, meaning
from accelsim.records.record import Stage
from accelsim.report.cells import count, milliseconds, number, ratio, text, time_ratio
from accelsim.report.html.grid import Column
from accelsim.report.line import Line
from accelsim.report.summary_rows import Labels


@dataclass(frozen=True)
class Row:
    """A line of results, and the run that it is from."""

    run: str
    labels: Labels
    line: Line

    @property
    def record(self) -> Record:
        """The record, or the first of several."""
        return self.line.records[0]


def record_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of the table with one line for each record."""
    return [
        *_labels(rows, ("workload", "gemm", "op", "phase")),
        Column("n×d×h", "A is [n, d], B is [h, d]; n×d×h multiplications, per head", _shape),
        *_settings(rows),
        Column("backend", _BACKEND, _backend),
        Column("status", "ok: every integer of the product is equal to the oracle's", _status),
        *_measured(rows),
        Column("± %", _ERROR, _error, number),
        Column("outliers", "repeats beyond 1.5 interquartile ranges; they count", _outliers, str),
    ]


def summary_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of the table with one line for each setting, all GEMMs together."""
    return [
        *_labels(rows, ()),
        *_settings(rows),
        Column("backend", _BACKEND, _backend),
        Column(
            "exact",
            "how many GEMMs gave the oracle's product, every integer equal",
            lambda row: f"{row.line.exact}/{len(row.line.records)}",
        ),
        *_measured(rows),
    ]


def failure_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns of the table of records that failed."""
    return [
        *_labels(rows, ("workload", "gemm")),
        *_settings(rows),
        Column("backend", "", _backend),
        Column("status", "", _status),
        Column("wrong integers", "of the product's", lambda r: r.record.mismatches, "{:,}".format),
        Column("largest error", "", lambda r: r.record.max_abs_error, "{:,}".format),
        Column("first mismatch", "[head, row, column]: expected, found", _first_mismatch),
        Column("reason", "", lambda row: row.record.reason or None),
        Column("replay", "the smallest GEMM that still shows it, and its config", _replay),
    ]


_BACKEND = "what multiplied; * where it was emulated or fell back, so its time is no hardware's"
_ERROR = f"half the 95% interval of the median total, in % of it; from {FEWEST} repeats on"


def _labels(rows: Sequence[Row], fields: Sequence[str]) -> list[Column[Row]]:
    columns: list[Column[Row]] = []
    if len({row.run for row in rows}) > 1:
        columns.append(Column("run", "the folder of the run", lambda row: row.run))
    varying = [field for field in fields if _varies(rows, field)]
    columns += [Column(FIELDS[field].title, "", _field(field)) for field in varying]
    return columns


def _settings(rows: Sequence[Row]) -> list[Column[Row]]:
    fields = [field for field in SETTINGS if field != "workload" and _varies(rows, field)]
    return [Column(FIELDS[field].title, meaning(field) or "", _field(field)) for field in fields]


def _measured(rows: Sequence[Row]) -> list[Column[Row]]:
    baselines = dict.fromkeys(
        name for row in rows for record in row.line.records for name in record.baselines
    )
    return [
        _column("ratio", lambda row: row.line.ratio, ratio),
        _column("low_bit_macs", lambda row: row.line.low_bit_macs, count),
        *(
            Column(stage, f"{found.meaning}, ms", partial(_time, stage), milliseconds)
            for stage, found in STAGES.items()
        ),
        *(
            Column(
                f"×{name}",
                f"time of the {name} GEMM over total; above 1 is faster than {name}",
                partial(_speedup, name),
                time_ratio,
                lambda ratio: ratio.value,
            )
            for name in baselines
        ),
    ]


def _column(name: str, value: Callable[[Row], Any], form: Callable[[Any], str]) -> Column[Row]:
    """Return the column of a field, with its title and meaning from the table of fields."""
    return Column(FIELDS[name].title, meaning(name) or "", value, form)


def _field(name: str) -> Callable[[Row], Any]:
    def value(row: Row) -> Any:
        found = getattr(row.record, name)
        return text({"a": found.a, "b": found.b}) if hasattr(found, "a") else found

    return value


def _varies(rows: Sequence[Row], field: str) -> bool:
    value = _field(field)
    return len({value(row) for row in rows}) > 1 or field == "gemm"


def _time(stage: Stage, row: Row) -> float | None:
    return row.line.time(stage)


def _speedup(baseline: str, row: Row) -> TimeRatio | None:
    return row.line.speedup(baseline)


def _shape(row: Row) -> str:
    record = row.record
    shape = f"{record.n}×{record.d}×{record.h}"
    return shape if record.batch == 1 else f"{record.batch}×({shape})"


def _backend(row: Row) -> str:
    return row.labels.backend(row.record)


def _status(row: Row) -> str:
    return str(row.record.status)


def _error(row: Row) -> float | None:
    timing, total = row.record.timing, row.record.time_ms.get("total")
    if timing is None or timing.relative_error is None or total is None or total.repeats < FEWEST:
        return None
    return 100 * timing.relative_error


def _outliers(row: Row) -> int | None:
    return None if row.record.timing is None else row.record.timing.outliers


def _first_mismatch(row: Row) -> str | None:
    first = row.record.first_mismatch
    return None if first is None else f"{first.index}: {first.expected:,}, {first.found:,}"


def _replay(row: Row) -> str | None:
    small = row.record.minimised
    shape = small and f"{small.n}×{small.d}×{small.h}"
    return None if small is None else f"{shape}: accelsim run {small.config}"
