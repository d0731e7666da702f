"""Records as a table to draw from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from accelsim.records import Record, Run, Status
from accelsim.records.record import OperandPair
from accelsim.report.cells import text
from accelsim.report.differences import labels
from accelsim.report.summary_rows import Labels

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(runs: Sequence[Run]) -> DataFrame:
    """Return one row for each record that ran; a value that a record lacks is None.

    Columns: ``gemm op phase beta strategy digits backend`` (with the run's name where there are
    several, and the options that tell records apart), ``bits_a bits_b bits`` (text),
    ``exact ratio out_of_bound_a out_of_bound_b`` (shares of the entries),
    ``low_bit_macs gemm_bytes area_time``, ``ms.STAGE`` and ``speedup.BASELINE``.
    """
    from pandas import DataFrame

    return DataFrame(
        [
            {"backend": name(record), **_row(record)}
            for run, name in backend_name(runs)
            for record in run.records
            if record.status.ran
        ]
    )


def backend_name(runs: Sequence[Run]) -> Iterator[tuple[Run, Callable[[Record], str]]]:
    """Yield each run with what names a record's backend, with the run's name if several."""
    for label, run in zip(labels(runs), runs, strict=True):
        of = Labels(run.records).backend
        prefix = f"{label}: " if len(runs) > 1 else ""
        yield run, lambda record, of=of, prefix=prefix: f"{prefix}{of(record)}"  # type: ignore[misc]


def _row(record: Record) -> dict[str, Any]:
    entries_a = record.batch * record.n * record.d
    entries_b = record.batch * record.h * record.d
    bits = record.bits
    bits_a, bits_b = (bits.a, bits.b) if isinstance(bits, OperandPair) else (bits, bits)
    return {
        "gemm": f"{record.workload}/{record.gemm}",
        "op": record.op,
        "phase": record.phase,
        "beta": _text(record.beta),
        "strategy": record.strategy
        if record.block is None
        else f"{record.strategy} {record.block}",
        "digits": record.digits,
        "bits_a": bits_a,
        "bits_b": bits_b,
        "bits": _text(bits),
        "exact": record.status is Status.OK,
        "ratio": record.ratio,
        "out_of_bound_a": _share(record.out_of_bound_a, entries_a),
        "out_of_bound_b": _share(record.out_of_bound_b, entries_b),
        "low_bit_macs": record.low_bit_macs,
        "gemm_bytes": record.gemm_bytes,
        "area_time": record.area_time,
        **{f"ms.{stage}": time.median for stage, time in record.time_ms.items()},
        **{f"speedup.{baseline}": value for baseline, value in record.speedup_vs.items()},
    }


def _text(value: Any) -> str:
    return text({"a": value.a, "b": value.b} if isinstance(value, OperandPair) else value)


def _share(count: int | None, entries: int) -> float | None:
    return count / entries if count is not None and entries else None


def need(data: DataFrame, *columns: str) -> DataFrame:
    """Return the rows that have all of these columns.

    Raises
    ------
    NothingToDrawError
        If there is none.
    """
    from accelsim.report.figures.figure import NothingToDrawError

    if set(columns) <= set(data.columns):
        rows = data.dropna(subset=list(columns))
        if len(rows):
            return rows
    raise NothingToDrawError(f"no record has {', '.join(columns)}")
