"""``accelsim compare``: runs and backends side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click

from accelsim.errors import InputError, unknown_name
from accelsim.report.cells import text
from accelsim.report.comparison import (
    add_speedup,
    default_columns,
    default_rows,
    differences,
    labels,
)
from accelsim.report.fields import field_names, lookup
from accelsim.report.pivot import Pivot, pivot
from accelsim.report.tables import FORMATS, Format, render
from accelsim.results import Run, load_run

VALUES = ("exact", "ratio", "time_ms.total")

_MEANING = {
    "exact": "every integer of the product is equal",
    "ratio": "low-bit multiplications over those of the GEMM",
    "time_ms": "median time in ms",
    "baselines": "time of the float GEMM in ms",
    "speedup_vs": "time of the baseline over the total; above 1 is faster than the baseline",
}
"""What stands beside the name of a field, or of a field's first part."""


def _split(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    return [name.strip() for name in (value or "").split(",") if name.strip()]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--rows",
    callback=_split,
    metavar="FIELD,FIELD",
    help="What labels a row [default: gemm,beta,bits,strategy and what else was swept].",
)
@click.option(
    "--columns",
    callback=_split,
    metavar="FIELD,FIELD",
    help="What labels a column [default: backend; run,backend for several runs].",
)
@click.option(
    "--values",
    callback=_split,
    metavar="FIELD,FIELD",
    help=f"What the cells show [default: {','.join(VALUES)}].",
)
@click.option("--where", multiple=True, metavar="FIELD=VALUE", help="Only such records.")
@click.option(
    "--baseline",
    metavar="NAME",
    help="Add speed-ups against a float baseline (fp32) or one of the backends.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print the table.",
)
def command(
    runs: tuple[Path, ...],
    rows: list[str],
    columns: list[str],
    values: list[str],
    where: tuple[str, ...],
    baseline: str | None,
    style: str,
) -> None:
    """Put RUNS side by side: run folders, or the records.jsonl of one.

    A FIELD is a name in records.jsonl, with dots into nested ones: time_ms.gemm is the median of
    that stage, time_ms.gemm.p75 its upper quartile. `run` is the name of the run.
    """
    loaded = [load_run(path) for path in runs]
    for path, run in zip(runs, loaded, strict=True):
        if not run.records:
            raise InputError(f"{path} has no records yet")
    records = _records(loaded)
    values = values or list(VALUES)
    if baseline is not None:
        values.append(add_speedup(records, baseline))
    known = field_names(records)
    for name in [*rows, *columns, *values]:
        # Where nothing could be timed there are no times, which is no reason to show nothing.
        if name not in known and name not in VALUES:
            raise _unknown(name, known)
    chosen = _filter(records, where, known)
    columns = columns or default_columns(chosen)
    result = pivot(chosen, rows or default_rows(chosen, columns), columns, values)
    click.echo(_show(result, cast("Format", style)), nl=False)
    _remark(loaded, chosen, result)


def _records(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return all records as mappings, each with the label of its run."""
    return [
        {"run": label, **record.to_dict()}
        for label, run in zip(labels(runs), runs, strict=True)
        for record in run.records
    ]


def _unknown(name: str, known: Sequence[str]) -> InputError:
    """Return the error for a field that is not there; it lists a stage once, not its quartiles."""
    quartiles = (".median", ".p25", ".p75", ".repeats")
    return InputError(
        unknown_name("field", name, (field for field in known if not field.endswith(quartiles)))
    )


def _filter(
    records: list[dict[str, Any]], where: Sequence[str], known: Sequence[str]
) -> list[dict[str, Any]]:
    for condition in where:
        name, equals, wanted = condition.partition("=")
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


def _show(result: Pivot, style: Format) -> str:
    if style in ("csv", "json"):
        every = result.value_fields
        return render(result.table(every), result.headings(every), style)
    return "\n".join(
        render(result.table([value]), result.headings([value]), style, title=_title(value))
        for value in result.value_fields
    )


def _title(value: str) -> str:
    meaning = _MEANING.get(value) or _MEANING.get(value.partition(".")[0])
    return f"{value}: {meaning}" if meaning else value


def _remark(runs: Sequence[Run], records: Sequence[dict[str, Any]], result: Pivot) -> None:
    """Say on stderr what the table alone would hide."""
    for words in differences(runs):
        click.echo(f"accelsim: warning: {words}", err=True)
    if result.merged > 1:
        click.echo(
            f"accelsim: note: cells hold up to {result.merged} records: medians of numbers, "
            "yes only if all are yes",
            err=True,
        )
    reasons = Counter(
        (record["backend"], record["status"], record["reason"])
        for record in records
        if record["exact"] is None
    )
    for (backend, status, reason), count in reasons.items():
        click.echo(f"accelsim: note: {backend}: {count} {status}: {reason}", err=True)
