"""``accelsim compare``: runs and backends side by side."""

from __future__ import annotations

import re
from pathlib import Path

import click

from accelsim.cli.shared import format_option
from accelsim.errors import InputError
from accelsim.plugins.registry import split_reference
from accelsim.report.formats import Format

VALUES = ("exact", "ratio", "time_ms.total")


def _split(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    return [name.strip() for name in (value or "").split(",") if name.strip()]


def _percentage(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", value.strip())
    if found is None:
        raise InputError(f"--fail-if-slower {value!r} is not a percentage such as 5%")
    return float(found[1]) / 100 if found[2] or float(found[1]) >= 1 else float(found[1])


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
    help="What labels a column [default: backend; run,backend for several runs]. Where options "
    "tell backends of one name apart, these follow backend.",
)
@click.option(
    "--values",
    callback=_split,
    metavar="FIELD,FIELD",
    help=f"What the cells show [default: {','.join(VALUES)}; where all backends are models, "
    "exact,cycles,seconds,energy summed over the GEMMs].",
)
@click.option(
    "--where", multiple=True, metavar="FIELD=VALUE", help="Only such records; may be repeated."
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Add speed-ups, with 95% intervals from 6 repeats on, against a float baseline (such as "
    "fp32), another backend (or path/to/file.py:ClassName), or the run of this name.",
)
@click.option(
    "--fail-if-slower",
    "tolerance",
    callback=_percentage,
    metavar="PERCENT",
    help="Exit with 1 if a record of a later run is slower than the first run's by more than this, "
    "such as 5%, by a Mann-Whitney U test on the repeats, or no longer exact.",
)
@format_option("the table")
def command(
    runs: tuple[Path, ...],
    rows: list[str],
    columns: list[str],
    values: list[str],
    where: tuple[str, ...],
    baseline: str | None,
    tolerance: float | None,
    style: Format,
) -> int:
    """Put RUNS side by side: run folders, or the records.jsonl of one.

    A FIELD is a name in records.jsonl, with dots into nested ones: time_ms.gemm is the median of
    that stage, time_ms.gemm.p75 its upper quartile. `run` is the name of the run. The heads of
    tables, such as stalls or b, and the last part of a path, such as search, name fields, too.

    Where the records of a cell differ in a setting that the table does not show, and in the value,
    columns are split by that setting.
    """
    from accelsim.cli.compare_tables import compare

    if baseline is not None and split_reference(baseline) is not None:
        from gemm_backends import backend_class

        baseline = backend_class(baseline).name
    return compare(runs, rows, columns, values, VALUES, where, baseline, tolerance, style)
