"""``accelsim workloads``: the GEMMs of workloads, and their heavy hitters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import click
from torch import Tensor

from accelsim.arithmetic.rounding import alpha, quantize
from accelsim.cli.gemms import gemms_of
from accelsim.cli.shared import beta_option, format_option, gemm_option
from accelsim.cli.workload_models import fetch_command, models_command
from accelsim.cli.workload_stats import profile_command, stats_command
from accelsim.errors import DataError
from accelsim.report.tables import Format, render
from workloads import Gemm, select, shipped_bundles

BITS = (2, 3, 4, 5, 8)
"""Digit widths for which `show` counts the entries that do not fit."""

Row: TypeAlias = dict[str, Any]

_format = format_option("the result")


@click.group()
def command() -> None:
    """List workloads, show their GEMMs and heavy hitters, and fetch models."""


@command.command("list", short_help="List the GEMMs of bundles and configs.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_format
def list_command(files: tuple[Path, ...], style: Format) -> None:
    """List the GEMMs of bundles and of configs' workloads, without reading their operands.

    FILES are .safetensors bundles or YAML configs; without any, the bundles that ship with accelsim
    are listed.
    """
    gemms = [gemm for file in files or shipped_bundles() for gemm in gemms_of(file)]
    rows = [_shape_row(gemm) for gemm in gemms]
    narrow = [name for name in rows[0] if name != "macs"]
    click.echo(render(rows, narrow if style == "table" else None, style), nl=False)


@command.command("show", short_help="Show GEMMs and their heavy hitters.")
@click.argument("file", type=click.Path(path_type=Path))
@gemm_option
@beta_option([15])
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=95,
    show_default=True,
    help="Which magnitude becomes beta / 2.",
)
@_format
def show_command(
    file: Path, globs: tuple[str, ...], betas: tuple[float, ...], percentile: float, style: Format
) -> int:
    """Show the GEMMs of a bundle, or of a config's workloads, and their heavy hitters.

    For each operand: α_100/α_p, the largest magnitude over the p-th percentile of magnitudes, and
    for each b the share of its integers that are out of bound, |v| >= 2^(b-1).
    """
    gemms = select(gemms_of(file), globs or ["*"], file)
    failures: list[str] = []
    operands = [
        row
        for beta in betas
        for gemm in gemms
        for row in _operand_rows(gemm, percentile, beta, failures)
    ]
    if style in ("table", "markdown"):
        _echo_tables(gemms, operands, percentile, style)
    else:
        shapes = {gemm.id: _shape_row(gemm) for gemm in gemms}
        rows = [shapes[f"{row['workload']}/{row['gemm']}"] | row for row in operands]
        click.echo(render(rows, format=style), nl=False)
    for failure in failures:
        click.echo(f"accelsim: {failure}", err=True)
    return 1 if failures else 0


def _shape_row(gemm: Gemm) -> Row:
    names = ("workload", "op", "phase", "layer", "batch", "n", "d", "h", "macs")
    return {"gemm": gemm.name, **{name: getattr(gemm, name) for name in names}}


def _operand_rows(gemm: Gemm, percentile: float, beta: float, failures: list[str]) -> Iterator[Row]:
    """Yield a row for A and one for B; what cannot be quantized adds to `failures`."""
    for operand, values in zip("ab", gemm.load(), strict=True):
        try:
            ratio, shares = _statistics(values, percentile, beta, gemm.where(operand))
        except DataError as error:
            failures.append(str(error))
            ratio, shares = None, dict.fromkeys(BITS)
        yield {
            "workload": gemm.workload,
            "gemm": gemm.name,
            "operand": operand,
            "percentile": percentile,
            "beta": beta,
            "alpha_ratio": ratio,
            **{f"out_of_bound_b{bits}": share for bits, share in shares.items()},
        }


def _statistics(
    values: Tensor, percentile: float, beta: float, name: str
) -> tuple[float | None, dict[int, float | None]]:
    """Return α_100/α_p and the share of out-of-bound integers for each b; None where empty."""
    magnitudes = quantize(values, percentile, beta, name=name).values.abs()
    if not values.numel():
        return None, dict.fromkeys(BITS)
    flat = values.float().flatten()
    center = float(alpha(flat, percentile))
    ratio = float(alpha(flat, 100)) / center if center else None
    counts = {bits: int((magnitudes >= 2 ** (bits - 1)).sum()) for bits in BITS}
    return ratio, {bits: count / values.numel() for bits, count in counts.items()}


def _echo_tables(
    gemms: Sequence[Gemm], operands: Sequence[Row], percentile: float, style: Format
) -> None:
    """Print the shapes, and below them the operands for each β, narrow enough for 80 columns."""
    columns = ["gemm", "op", "phase", "layer", "batch", "n", "d", "h"]
    tables = [render([_shape_row(gemm) for gemm in gemms], columns, style)]
    for beta, rows in groupby(operands, lambda row: row["beta"]):
        title = (
            f"Out of bound, |v| >= 2^(b-1), in % (percentile {percentile:g}, beta {beta:g}); "
            "a balanced digit holds -2^(b-1) too"
        )
        shares = [
            {
                "gemm": row["gemm"],
                "operand": row["operand"].upper(),
                f"α_100/α_{percentile:g}": row["alpha_ratio"],
                **{f"b={bits}": _percent(row[f"out_of_bound_b{bits}"]) for bits in BITS},
            }
            for row in rows
        ]
        tables.append(render(shares, format=style, title=title))
    click.echo("\n".join(tables), nl=False)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


for _command in (stats_command, models_command, fetch_command, profile_command):
    command.add_command(_command)
