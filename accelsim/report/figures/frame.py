"""Records as a table to draw from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelsim.records import Record, Status
from accelsim.records.record import OperandPair
from accelsim.report.cells import MISSING, text
from accelsim.report.described import Described
from accelsim.report.fields import flatten
from accelsim.report.line import Line
from accelsim.report.option_names import ACCELERATOR, needed_options, option_title

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(runs: Sequence[Described]) -> DataFrame:
    """Return one row for each record that ran; a value that a record lacks is None.

    Columns: ``gemm op phase beta beta_number strategy digits``, ``backend`` (with the run's name
    where there are several, and the options that tell records apart), ``bits_a bits_b``, ``bits``
    (text),
    ``exact sound ratio out_of_bound_a out_of_bound_b`` (shares of the entries),
    ``low_bit_macs gemm_bytes area_time``, ``modelled`` (the time is that of a model's software),
    ``ms.STAGE``, the repeats ``samples``, and where the ratio is a result ``speedup.BASELINE``,
    ``speedup_low.BASELINE`` and ``speedup_high.BASELINE``.
    """
    from pandas import DataFrame

    return DataFrame(
        [
            {"backend": run.backend(record), **_row(record)}
            for run in runs
            for record in run.records
            if record.status.ran
        ]
    )


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
        "beta_number": None if isinstance(record.beta, OperandPair) else float(record.beta),
        "strategy": record.strategy
        if record.block is None
        else f"{record.strategy} {record.block}",
        "digits": record.digits,
        "bits_a": bits_a,
        "bits_b": bits_b,
        "bits": _text(bits),
        "exact": record.status is Status.OK,
        "sound": record.status in (Status.OK, Status.COUNTED),
        "ratio": record.ratio,
        "out_of_bound_a": _share(record.out_of_bound_a, entries_a),
        "out_of_bound_b": _share(record.out_of_bound_b, entries_b),
        "low_bit_macs": record.low_bit_macs,
        "gemm_bytes": record.gemm_bytes,
        "area_time": record.area_time,
        "modelled": record.cycles is not None and record.execution != "native",
        "samples": record.samples_ms.get("total"),
        **{f"ms.{stage}": time.median for stage, time in record.time_ms.items()},
        **_speedups(record),
    }


def _speedups(record: Record) -> dict[str, float]:
    """Return the ratios to baselines that are results, with the ends of their intervals."""
    found = {}
    for baseline in record.baselines:
        ratio = Line([record]).speedup(baseline)
        if ratio is not None and ratio.value is not None:
            found[f"speedup.{baseline}"] = ratio.value
            found[f"speedup_low.{baseline}"] = ratio.interval.low
            found[f"speedup_high.{baseline}"] = ratio.interval.high
    return found


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
    timed = ["a time" if name.startswith("ms.") else name for name in columns]
    raise NothingToDrawError(f"no record has {', '.join(dict.fromkeys(timed))}")


def timed(data: DataFrame, *columns: str) -> DataFrame:
    """Return the rows that have all of these columns and whose times are those of hardware.

    Raises
    ------
    NothingToDrawError
        If there is none.
    """
    from accelsim.report.figures.figure import NothingToDrawError

    rows = need(data, *columns)
    rows = rows[~rows["modelled"]]
    if len(rows):
        return rows
    raise NothingToDrawError("every time is that of a model in software, not of hardware")


def design_frame(runs: Sequence[Described]) -> tuple[DataFrame, list[str]]:
    """Return one row for each modelled accelerator of each run, all GEMMs together.

    Returns
    -------
    DataFrame
        Columns ``asked`` (the rounding), ``label`` (of which no two of one rounding are equal),
        ``design`` (a `Design`), and a text for each part of its name.
    list of str
        The parts that the labels have.
    """
    from pandas import DataFrame

    rows: list[dict[str, Any]] = []
    for run in runs:
        for design in run.designs:
            named = {} if run.alone else {"run": run.name}
            rows.append({"asked": design.asked, "design": design, **named, **design.parts})
    names = dict.fromkeys(name for row in rows for name in row if name not in ("asked", "design"))
    parts = _needed(rows, list(names))
    for row in rows:
        row["label"] = ", ".join(said(part, row[part]) for part in parts if part in row)
        row |= {part: row.get(part, MISSING) for part in names}
    return DataFrame(rows), parts


def said(part: str, value: str) -> str:
    """Return a part of a design's name in words; those that are names themselves stand alone."""
    return value if part in (ACCELERATOR, "backend", "run") else f"{part} {value}"


def kinds(designs: DataFrame, without: str) -> list[str]:
    """Name what each design is but for one part of its name, with all that tells it apart then.

    Parameters
    ----------
    designs : DataFrame
        From `design_frame`.
    without : str
        The part that is left out, such as the one that is an axis.
    """
    rows = [
        {"asked": "", **({"run": row["run"]} if "run" in row else {}), **row["design"].parts}
        for row in designs.to_dict("records")
    ]
    every = dict.fromkeys(n for row in rows for n in row if n not in ("asked", without))
    parts = _needed(rows, list(every))
    names = [", ".join(said(part, row[part]) for part in parts if part in row) for row in rows]
    # Designs that never meet, as each has widths of its own, have no part that tells them apart.
    options = [flatten(design.records[0].backend_options) for design in designs["design"]]
    alike: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, of in zip(names, options, strict=True):
        alike[name].append(of)
    return [
        ", ".join(filter(None, (name, *_differing(of, alike[name]))))
        for name, of in zip(names, options, strict=True)
    ]


def _differing(options: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options, but for the width, that tell one design from others, in words."""
    known = dict.fromkeys(name for of in others for name in of if name != "bits")
    differ = [name for name in known if len({text(of.get(name, "")) for of in others}) > 1]
    told = needed_options(others, differ) if differ else []
    return [f"{option_title(name)} {text(options.get(name, MISSING))}" for name in told]


def _needed(rows: Sequence[Mapping[str, Any]], names: list[str]) -> list[str]:
    """Return the fewest parts of the names that still tell all rows of one rounding apart.

    Parts that follow from others are left out, the last ones first.
    """

    def told(kept: Sequence[str]) -> int:
        return len({(row["asked"], *(row.get(name, MISSING) for name in kept)) for row in rows})

    for name in reversed(names[:]):
        fewer = [other for other in names if other != name]
        if told(fewer) == told(names):
            names = fewer
    return names
