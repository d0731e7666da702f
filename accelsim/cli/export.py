"""``accelsim export``: GEMMs, before and after unpacking, for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.analysis.tools import TOOLS
from accelsim.arithmetic.digit_systems import RULES
from accelsim.cli.shared import beta_option, gemm_option, output_option


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "tool", type=click.Choice(TOOLS), required=True, help="Who is to read it.")
@gemm_option
@click.option(
    "--bits", type=click.IntRange(2, 16), default=8, show_default=True, help="Width of a digit."
)
@beta_option([15])
@click.option(
    "--percentile",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=95,
    show_default=True,
)
@click.option("--strategy", default="mix", show_default=True, help="How integers are unpacked.")
@click.option("--block", type=click.IntRange(min=1), help="Columns of a K-block.")
@click.option("--digits", type=click.Choice(list(RULES)), default="balanced", show_default=True)
@output_option("The folder to write to; several β have a folder in it each", required=True)
def command(
    file: Path,
    tool: str,
    globs: tuple[str, ...],
    bits: int,
    betas: tuple[float, ...],
    percentile: float,
    strategy: str,
    block: int | None,
    digits: str,
    output: Path,
) -> None:
    """Write the GEMMs of FILE, before and after unpacking, as another tool reads them.

    FILE is a bundle, a config, a topology of SCALE-Sim (.csv) or a model in ONNX (.onnx). The
    folder gets before and after, and gemms.csv with the width of every operand.
    """
    from accelsim.analysis.peers import layers, write
    from accelsim.cli.gemms import gemms_of
    from accelsim.settings import Unpacking
    from accelsim.types import PerOperand, Rounding, StrategyChoice
    from accelsim.unpack import split_options
    from workloads import select

    unpacking = Unpacking(
        PerOperand.both(bits), digits, StrategyChoice(*split_options(strategy)), block
    )
    gemms = select(gemms_of(file), globs or ["*"], file)
    for beta in betas:
        folder = output if len(betas) == 1 else output / f"beta-{beta:g}"
        found = layers(gemms, Rounding(percentile, beta), unpacking)
        for path in write(folder, tool, found):
            click.echo(path)
