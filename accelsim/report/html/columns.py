"""The columns of the page's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from accelsim.measure.ratios import TimeRatio
from accelsim.measure.statistics import FEWEST
from accelsim.records import Record
from accelsim.records.fields import FIELDS, SETTINGS, STAGES, TOTAL, meaning
from accelsim.records.record import Stage
from accelsim.report.cells import count, milliseconds, prefixed, ratio, text, time_ratio
from accelsim.report.html.grid import Column, Rank
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

    @cached_property
    def ratios(self) -> dict[str, TimeRatio]:
        """The speed-up over each baseline."""
        found = {name: self.line.speedup(name) for name in self.record.baselines}
        return {name: ratio for name, ratio in found.items() if ratio is not None}


def record_columns(rows: Sequence[Row], models: bool = False) -> list[Column[Row]]:
    """Return the columns of the table with one line for each record.

    Parameters
    ----------
    rows : sequence of Row
        What the table shows.
    models : bool
        Whether every backend is a model: cycles are then shown at first, and not the times.
    """
    return [
        *_labels(rows, ("workload", "gemm", "op", "phase")),
        Column(
            "n×d×h", "A is [n, d], B is [h, d]; n×d×h multiplications, per head", _shape,
            rank="asked",
        ),
        *_settings(rows),
        Column("backend", _BACKEND, _backend, rank="always"),
        Column("status", "ok: every integer of the product is equal to the oracle's", _status),
        *_modelled(models),
        *_measured(rows, models),
        Column(
            "outliers", "repeats beyond 1.5 interquartile ranges; they count", _outliers, str,
            rank="asked",
        ),
    ]  # fmt: skip


def summary_columns(rows: Sequence[Row], models: bool = False) -> list[Column[Row]]:
    """Return the columns of the table with one line for each setting, all GEMMs together."""
    return [
        *_labels(rows, ()),
        *_settings(rows),
        Column("backend", _BACKEND, _backend, rank="always"),
        Column(
            "exact",
            "number of GEMMs whose every integer equals the oracle's",
            lambda row: row.line.verified,
            rank="always" if models else "wide",
        ),
        *_measured(rows, models),
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


_BACKEND = (
    "what multiplied; * where it was emulated or fell back, so that its time says nothing about "
    "hardware"
)
_ERROR = f"half the 95% interval of the total, as a share of it; from {FEWEST} repeats on"


def _labels(rows: Sequence[Row], fields: Sequence[str]) -> list[Column[Row]]:
    columns: list[Column[Row]] = []
    if len({row.run for row in rows}) > 1:
        columns.append(Column("run", "the folder of the run", lambda row: row.run))
    varying = [field for field in fields if _varies(rows, field)]
    columns += [
        Column(
            FIELDS[field].title, "", _field(field), rank="always" if field == "gemm" else "asked"
        )
        for field in varying
    ]
    return columns


def _settings(rows: Sequence[Row]) -> list[Column[Row]]:
    fields = [field for field in SETTINGS if field != "workload" and _varies(rows, field)]
    return [
        Column(
            FIELDS[field].title, meaning(field) or "", _field(field),
            rank="always" if field in ("beta", "bits") else "wide",
        )
        for field in fields
    ]  # fmt: skip


_SHORT = ("unpack", "gemm", "total")
"""The stages that are shown at first."""


def _modelled(models: bool) -> list[Column[Row]]:
    """Return the columns of modelled accelerators."""
    first: Rank = "always" if models else "asked"
    shown: Rank = "wide" if models else "asked"

    def quantity(name: str, unit: str, rank: Rank, title: str) -> Column[Row]:
        return Column(
            title, meaning(name) or "", lambda row: getattr(row.record, name),
            partial(prefixed, unit=unit), rank=rank,
        )  # fmt: skip

    def share(value: float) -> str:
        return f"{value:.1%}"

    return [
        Column(
            "cycles", meaning("cycles") or "", lambda row: row.record.cycles, count, rank=first
        ),
        Column("stalls", "share of the cycles that wait for memory", _stalls, share, rank=first),
        Column(
            "use", meaning("utilization") or "", lambda row: row.record.utilization, share,
            rank=shown,
        ),
        quantity("seconds", "s", first, "time"),
        Column("DRAM", "bytes from and to DRAM", _dram, partial(prefixed, unit="B"), rank=shown),
        quantity("energy", "J", first, "energy"),
    ]  # fmt: skip


def _stalls(row: Row) -> float | None:
    stalls, cycles = row.record.stall_cycles, row.record.cycles
    return stalls / cycles if stalls is not None and cycles else None


def _dram(row: Row) -> float | None:
    traffic = row.record.traffic.get("dram")
    return sum(traffic.values()) if traffic else None


def _measured(rows: Sequence[Row], models: bool) -> list[Column[Row]]:
    baselines = dict.fromkeys(
        name for row in rows for record in row.line.records for name in record.baselines
    )

    def rank(stage: str) -> Rank:
        if models or stage not in _SHORT:
            return "asked"
        return "always" if stage == TOTAL else "wide"

    return [
        _column("ratio", lambda row: row.line.ratio, ratio),
        _column("low_bit_macs", lambda row: row.line.low_bit_macs, count, "asked"),
        *(
            Column(
                stage,
                f"{found.meaning}, ms",
                partial(_time, stage),
                milliseconds,
                rank=rank(stage),
            )
            for stage, found in STAGES.items()
        ),
        Column("±", _ERROR, lambda row: row.line.error(), _percent, rank=rank("unpack")),
        *(
            Column(
                f"×{name}",
                f"time of the {name} GEMM over total; above 1 is faster than {name}; ~ is "
                "approximate, and where the interval is wider than a factor of two there is none",
                partial(_speedup, name),
                time_ratio,
                lambda ratio: ratio.value,
                rank="asked" if models else "always",
            )
            for name in baselines
        ),
    ]


def _percent(value: float) -> str:
    return f"{value:.0f}%" if value >= 9.5 else f"{value:.1f}%"


def _column(
    name: str, value: Callable[[Row], Any], form: Callable[[Any], str], rank: Rank = "wide"
) -> Column[Row]:
    """Return the column of a field, with its title and meaning from the table of fields."""
    return Column(FIELDS[name].title, meaning(name) or "", value, form, rank=rank)


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
    return row.ratios.get(baseline)


def _shape(row: Row) -> str:
    record = row.record
    shape = f"{record.n}×{record.d}×{record.h}"
    return shape if record.batch == 1 else f"{record.batch}×({shape})"


def _backend(row: Row) -> str:
    return row.labels.backend(row.record)


def _status(row: Row) -> str:
    return str(row.record.status)


def _outliers(row: Row) -> int | None:
    return None if row.record.timing is None else row.record.timing.outliers


def _first_mismatch(row: Row) -> str | None:
    first = row.record.first_mismatch
    return None if first is None else f"{first.index}: {first.expected:,}, {first.found:,}"


def _replay(row: Row) -> str | None:
    small = row.record.minimised
    shape = small and f"{small.n}×{small.d}×{small.h}"
    return None if small is None else f"{shape}: accelsim run {small.config}"
