"""``accelsim ratios``: what unpacking costs on the operands of trained models."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.shared import format_option
from accelsim.report.formats import Format


@click.command("ratios")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--bits",
    type=click.IntRange(2, 8),
    multiple=True,
    default=(2, 3, 4, 5, 6, 7, 8),
    show_default=True,
    help="Width of the digits; may be repeated.",
)
@click.option("--strategy", default="mix", show_default=True, help="How operands are unpacked.")
@click.option(
    "--digits",
    type=click.Choice(["balanced", "paper"]),
    default="balanced",
    show_default=True,
    help="The digit system.",
)
@click.option("--backend", default="int64", show_default=True, help="What multiplies.")
@click.option("--device", metavar="DEVICE", help="Compute here: cpu, cuda or cuda:N.")
@click.option("--seed", type=int, help="Only the models of this seed.")
@format_option("the table")
def command(
    run: Path,
    bits: tuple[int, ...],
    strategy: str,
    digits: str,
    backend: str,
    device: str | None,
    seed: int | None,
    style: Format,
) -> None:
    """Print the unpack ratios of the models that RUN has trained, by kind of GEMM and by width.

    RUN is a folder of `accelsim train` whose config has `keep: true`. The operands are those of the
    next batch, forward and backward, rounded as in training; those of models trained in floats at
    β = 31 with gradients at 1023. With --format csv or json there is one row for each width, with
    the numbers of GEMMs and multiplications and the share of entries beyond one digit.
    """
    from accelsim.parity.ratios import Unpacked, trained_ratios, wide
    from accelsim.report.tables import render

    rows = list(trained_ratios(run, Unpacked(backend, bits, strategy, digits), device, seed))
    click.echo(render(rows if style in ("csv", "json") else wide(rows), format=style), nl=False)
