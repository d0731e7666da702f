"""``accelsim workloads stats`` and ``profile``: statistics of real operands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.shared import beta_option, format_option, gemm_option, output_option
from accelsim.errors import InputError
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from accelsim.analysis.heavy_hitters import OperandStatistics

PERCENT = ("zeros", "out_of_bound", "in_rows", "in_columns")
"""Shares, which tables show in percent."""

HEADERS = {"kurtosis": "kurtosis", "zeros": "zero"} | {
    "out_of_bound": "out of bound",
    "in_rows": "in 1% rows",
    "in_columns": "in 1% columns",
}


@click.command("stats", short_help="Tell how heavy heavy hitters are, and where.")
@click.argument("file", type=click.Path(path_type=Path))
@gemm_option
@beta_option([15, 31])
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    multiple=True,
    default=[4, 8],
    show_default=True,
    help="Width of a digit; may be repeated.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=95,
    show_default=True,
    help="Which magnitude becomes beta / 2.",
)
@click.option(
    "--by",
    type=click.Choice(["op", "gemm"]),
    default="op",
    show_default=True,
    help="A row for each op and phase, or for each GEMM.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    help="Draw it too: .svg, .png or .pdf (extra report).",
)
@format_option("the statistics")
def stats_command(
    file: Path,
    globs: tuple[str, ...],
    betas: tuple[float, ...],
    bits: tuple[int, ...],
    percentile: float,
    by: str,
    figure: Path | None,
    style: Format,
) -> None:
    """Measure the heavy hitters of a bundle, or of a config's workloads.

    For A and B of every op and phase: α_100/α_p, kurtosis, the share of integers that do not fit b
    bits, and how much of those the heaviest 1% of rows and of columns hold.
    """
    from accelsim.analysis.heavy_hitters import rows_of, survey, totals
    from accelsim.cli.gemms import gemms_of
    from workloads import select

    gemms = select(gemms_of(file), globs or ["*"], file)
    found = list(survey(gemms, percentile, betas, bits))
    rows = totals(found) if by == "op" else rows_of(found)
    if style == "json":
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _echo(rows, by, percentile, style)
    if figure is not None:
        _draw(found, figure)


def _echo(rows: Sequence[dict[str, Any]], by: str, percentile: float, style: Format) -> None:
    """Print a row for each, with shares in percent."""
    from accelsim.report.tables import render

    place = ["op", "phase"] if by == "op" else ["gemm"]
    headers = {"alpha_ratio": f"α_100/ α_{percentile:g}"} | HEADERS
    shown = [
        {"of": row["operand"].upper()}
        | {name: row[name] for name in place}
        | {"β": row["beta"], "b": row["bits"]}
        | {header: _cell(name, row[name]) for name, header in headers.items()}
        for row in rows
    ]
    columns = [*place, "of", "β", "b", *headers.values()]
    title = (
        "Shares in %. Out of bound: |v| >= 2^(b-1); a balanced digit holds -2^(b-1) too.\n"
        "In 1% rows, columns: how much of that the heaviest 1% of the lines hold."
    )
    click.echo(render(shown, columns, style, title), nl=False)


def _cell(name: str, value: float | None) -> float | None:
    return 100 * value if value is not None and name in PERCENT else value


def _draw(found: Sequence[OperandStatistics], path: Path) -> None:
    from accelsim.report.heavy_hitter_figure import draw

    draw(found, path)
    click.echo(f"figure in {path}", err=True)


@click.command("profile", short_help="Measure heavy hitters, for synthetic operands.")
@click.argument("bundle", type=click.Path(path_type=Path))
@output_option("The file to write", required=True)
def profile_command(bundle: Path, output: Path) -> None:
    """Measure the heavy hitters of a BUNDLE, for synthetic operands that have the same.

    A `model:` entry of a config whose model is known by its shapes alone takes the file as
    `profile:`.
    """
    from workloads import open_bundle
    from workloads.profile import measure, write_profile

    opened = open_bundle(bundle)
    profile = measure(opened.gemms)
    if not profile:
        raise InputError(f"{bundle}: more than 95% of every operand are zeros")
    write_profile(output, profile, opened.source)
    click.echo(f"{len(profile)} kinds of operands in {output}")
