"""What ``accelsim compare`` prints: tables of fields, notes, and whether a run is slower."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from accelsim.errors import InputError, unknown_name
from accelsim.records import Run, load_run
from accelsim.records.fields import meaning
from accelsim.report.cells import MISSING, number, text
from accelsim.report.comparison import (
    default_columns,
    default_rows,
    default_values,
    field_named,
    is_modelled,
    splitting,
    with_options,
)
from accelsim.report.differences import differences, labels
from accelsim.report.fields import field_names, lookup
from accelsim.report.formats import Format
from accelsim.report.pivot import Pivot, pivot
from accelsim.report.regressions import find_regressions
from accelsim.report.settings import SWEPT
from accelsim.report.speedups import add_speedup
from accelsim.report.tables import render


def compare(
    runs: Sequence[Path],
    rows: list[str],
    columns: list[str],
    values: Sequence[str],
    usual: Sequence[str],
    where: Sequence[str],
    baseline: str | None,
    tolerance: float | None,
    style: Format,
) -> int:
    """Print the records of runs side by side.

    The parameters are those of the command, and `usual`: the values without any, which may be
    missing.

    Returns
    -------
    int
        The exit status: 1 if a later run is slower than `tolerance` allows, else 0.
    """
    loaded = [load_run(path) for path in runs]
    for path, run in zip(runs, loaded, strict=True):
        if not run.records:
            raise InputError(f"{path} has no records yet")
    records = _records(loaded)
    models = not (rows or columns or values or baseline) and is_modelled(records)
    values = [*(values or (usual if baseline else default_values(records, usual)))]
    if tolerance is not None and len(loaded) < 2:
        raise InputError("--fail-if-slower compares runs: name the old one and then the new one")
    ends: list[str] = []
    marks: dict[str, str] = {}
    if baseline is not None:
        speedups, marks = add_speedup(records, baseline)
        values.append(speedups)
        ends = [f"speedup_{part}.{baseline}" for part in ("low", "high", "approximate")]
    known = field_names(records)
    rows, columns, values = (
        [field_named(name, known) for name in fields] for fields in (rows, columns, values)
    )
    for name in [*rows, *columns, *values]:
        # If nothing was timed, the other values are shown all the same.
        if name not in known and name not in usual:
            raise _unknown(name, known)
    chosen = _filter(records, where, known)
    columns = with_options(chosen, columns, rows) if columns else default_columns(chosen)
    rows = with_options(chosen, rows, columns) or default_rows(chosen, columns)
    if models:  # a line for each design, with the sums over its GEMMs
        rows = [name for name in rows if name not in ("workload", "gemm")]
    split = splitting(chosen, rows, columns, values)
    columns = [*columns, *split]
    result = pivot(chosen, rows, columns, [*values, *ends])
    # The median of several records' speed-ups has a different interval from each of them.
    ends = [] if result.merged > 1 or not {*ends} <= {*known} else ends
    tables = _show(result, values, ends, style)
    click.echo(tables, nl=False)
    if style == "table":
        _echo_legend(result, columns, missing=MISSING in tables)
    _remark(loaded, chosen, result, values)
    if split:
        click.echo(
            f"accelsim: note: columns are split by {', '.join(split)}: a cell would be the median "
            "of different designs; --where FIELD=VALUE chooses one",
            err=True,
        )
    for mark, words in marks.items():
        unmarked = "; cells of several records have no mark" if result.merged > 1 else ""
        click.echo(f"accelsim: note: {mark}  speed-up over {baseline}, {words}{unmarked}", err=True)
    return 0 if tolerance is None else _verdict(chosen, labels(loaded), tolerance, style)


def _verdict(
    records: Sequence[dict[str, Any]], names: Sequence[str], tolerance: float, style: Format
) -> int:
    """Print whether a later run is slower than the first; not between the lines of csv and json."""
    old, *others = names
    found = [find_regressions(records, old, new, tolerance) for new in others]
    for regressions in found:
        click.echo("", err=style != "table")
        for line in regressions.lines():
            click.echo(_wrapped(line), err=style != "table")
    return int(any(regressions.failed for regressions in found))


def _records(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return all records as mappings, each with the label of its run."""
    return [
        {"run": label, **record.to_dict()}
        for label, run in zip(labels(runs), runs, strict=True)
        for record in run.records
    ]


def _unknown(name: str, known: Sequence[str]) -> InputError:
    """Return the error for an unknown field; it lists each stage once, without quartiles."""
    quartiles = (".median", ".p25", ".p75", ".repeats")
    fields = [field for field in known if not field.endswith(quartiles)]
    close = [field for field in fields if field.partition(".")[0] == name]
    if close:
        return InputError(f"field {name!r} has parts: {', '.join(close)}")
    return InputError(_wrapped(unknown_name("field", name, fields)))


def _filter(
    records: list[dict[str, Any]], where: Sequence[str], known: Sequence[str]
) -> list[dict[str, Any]]:
    for condition in where:
        typed, equals, wanted = condition.partition("=")
        name = field_named(typed, known)
        if not equals:
            raise InputError(f"--where {condition!r} is not FIELD=VALUE")
        if name not in known:
            raise _unknown(name, known)
        present = dict.fromkeys(text(lookup(record, name)) for record in records)
        records = [record for record in records if _equal(lookup(record, name), wanted)]
        if not records:
            raise InputError(
                f"no record has {name}={wanted}; there are: {', '.join(list(present)[:20])}"
            )
    return records


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        for kind in (int, float):
            with suppress(ValueError):
                return bool(value == kind(wanted))
    return text(value) == wanted


def _show(result: Pivot, values: Sequence[str], ends: Sequence[str], style: Format) -> str:
    """Render all values in one table of csv or json, else each in its own.

    `ends` are the fields of the interval of the last value, and whether it is approximate; nothing
    if it has none.
    """
    if style in ("csv", "json"):
        every = [*values, *ends]
        return render(result.table(every), result.headings(every), style)
    parts = []
    for value in values:
        around = ends if value == values[-1] else ()
        shown = result.without_repeats(value) if style == "table" and not around else result
        rows = _with_interval(result, value, around) if around else shown.table([value])
        title = _title(value) + (" [95% interval]" if around else "")
        if value in result.added:
            title += " (sum over the GEMMs)"
        elif value in result.divided:
            title += " (of all GEMMs together: the sum of the former over that of the latter)"
        elif result.merged > 1 and _has_numbers(result, value):
            title += " (median where a cell has several records)"
        title = _wrapped(title) if style == "table" else title
        parts.append(
            render(
                rows, shown.headings([value]), style, title,
                labels=len(result.row_fields), width=_width(),
            )
        )  # fmt: skip
    return "\n".join(parts)


def _has_numbers(result: Pivot, value: str) -> bool:
    """Whether the cells of a value are numbers, which have a median."""
    cells = (found for (_, _, name), found in result.cells.items() if name == value)
    return any(isinstance(found, int | float) and not isinstance(found, bool) for found in cells)


def _echo_legend(result: Pivot, columns: Sequence[str], missing: bool) -> None:
    """Explain the labels of rows and columns, and cells without a value."""
    fields = [*result.row_fields, *columns]
    meanings = {name: words for name in fields if name in SWEPT and (words := meaning(name))}
    if len(columns) > 1:
        meanings = {"columns": f"by {', '.join(columns)}", **meanings}
    if missing:
        meanings[MISSING] = "there is no value; a note says why where nothing ran"
    wide = max(map(len, meanings), default=0)
    lines = [_wrapped(f"{name:{wide}}  {words}") for name, words in meanings.items()]
    if lines:
        click.echo("\n".join(["", *lines]))


def _width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _width(), subsequent_indent="    ", break_on_hyphens=False)


def _with_interval(result: Pivot, value: str, ends: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows whose cells read ``1.23 [1.20, 1.27]``, or begin with ``~``."""
    rows = result.table([value])
    low, high, rough = (result.table([end]) for end in ends)
    for row, lows, highs, roughs in zip(rows, low, high, rough, strict=True):
        for column in result.columns:
            if row[column] is None:
                row[column] = MISSING
            elif lows[column] is None:
                row[column] = f"~{number(row[column])}"
            else:
                span = f"{number(lows[column])}, {number(highs[column])}"
                mark = "~" if roughs[column] else ""
                row[column] = f"{mark}{number(row[column])} [{span}]"
    return rows


def _title(value: str) -> str:
    words = meaning(value)
    return f"{value}: {words}" if words else value


_IN_CYCLES = ("cycles", "compute_cycles", "shift_add_cycles", "stall_cycles", "area_time")
"""Fields that compare designs of one clock only."""


def _remark(
    runs: Sequence[Run],
    records: Sequence[dict[str, Any]],
    result: Pivot,
    values: Sequence[str],
) -> None:
    """Print to stderr what the table does not show."""
    for words in differences(runs):
        click.echo(f"accelsim: warning: {words}", err=True)
    if result.merged > 1:
        click.echo(
            f"accelsim: note: cells hold up to {result.merged} records: medians of numbers; "
            "times, counts and energies of several GEMMs are added, and r is of their sums; yes "
            "only if all are yes",
            err=True,
        )
    clocks = {lookup(r, "backend_options.memory.frequency_mhz") for r in records if r["seconds"]}
    if len(clocks) > 1 and (counted := [name for name in values if name in _IN_CYCLES]):
        found = ", ".join(text(clock) for clock in sorted(clocks))
        click.echo(
            f"accelsim: note: {', '.join(counted)} of designs with different clocks ({found} MHz) "
            "do not say which is faster: --values seconds does",
            err=True,
        )
    reasons = Counter(
        (record["backend"], record["status"], record["reason"])
        for record in records
        if record["exact"] is None
    )
    for (backend, status, reason), count in reasons.items():
        click.echo(f"accelsim: note: {backend}: {count} {status}: {reason}", err=True)
