"""``accelsim workloads``: the GEMMs of workloads, and their heavy hitters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.shared import beta_option, format_option, gemm_option
from accelsim.cli.workload_models import fetch_command, models_command
from accelsim.cli.workload_stats import profile_command, stats_command
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from workloads import Gemm

_format = format_option("the result")


@click.group()
def command() -> None:
    """List workloads, show their GEMMs and heavy hitters, and fetch models."""


@command.command("list", short_help="List the GEMMs of bundles, models and configs.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_format
def list_command(files: tuple[Path, ...], style: Format) -> None:
    """List the GEMMs of bundles, models and configs' workloads, without reading their operands.

    FILES are .safetensors bundles, YAML configs, models of the catalog or local Hugging Face
    folders; without any, the bundles that ship with accelsim are listed. A model with weights runs
    once. The names are what --gemm of commands and `gemms` of configs match. `lstm#2` is the second
    GEMM of a layer, `lstm.dx` and `lstm.dw` its gradients: plans, `skip` and
    `accelsim.integer_gemms` take all of them together, by the name without these ends.
    """
    from accelsim.cli.gemms import gemms_of, is_model
    from accelsim.cli.workload_rows import shape_row
    from accelsim.report.tables import render
    from accelsim.report.words import explain_gemms
    from workloads import shipped_bundles
    from workloads.models.listing import model_gemms

    def say(message: str) -> None:
        click.echo(f"accelsim: {message}", err=True)

    gemms: list[Gemm] = []
    for file in files or shipped_bundles():
        gemms += model_gemms(str(file), say) if is_model(file) else gemms_of(file)
    rows = [shape_row(gemm) for gemm in gemms]
    narrow = [name for name in rows[0] if name != "macs"]
    click.echo(render(rows, narrow if style == "table" else None, style), nl=False)
    terms = explain_gemms(gemms)
    if any("#" in gemm.name for gemm in gemms):
        terms["#2"] = "the second product of a layer; plans take all of a layer, without #2 and .dx"
    if style == "table" and terms:
        click.echo("\n" + "\n".join(f"{name:11} {words}" for name, words in terms.items()))


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
    from accelsim.cli.gemms import gemms_of
    from accelsim.cli.workload_rows import operand_rows, shape_row, tables
    from accelsim.report.tables import render
    from workloads import select

    gemms = select(gemms_of(file), globs or ["*"], file)
    failures: list[str] = []
    operands = [
        row
        for beta in betas
        for gemm in gemms
        for row in operand_rows(gemm, percentile, beta, failures)
    ]
    if style in ("table", "markdown"):
        click.echo(tables(gemms, operands, percentile, style), nl=False)
    else:
        shapes = {gemm.id: shape_row(gemm) for gemm in gemms}
        rows = [shapes[f"{row['workload']}/{row['gemm']}"] | row for row in operands]
        click.echo(render(rows, format=style), nl=False)
    for failure in failures:
        click.echo(f"accelsim: {failure}", err=True)
    return 1 if failures else 0


for _command in (stats_command, models_command, fetch_command, profile_command):
    command.add_command(_command)
