"""``accelsim sensitivity``: which GEMMs of a model need fine integers."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.shared import (
    format_option,
    model_options,
    output_option,
    refuse_given,
    rounding_options,
    run_folder_options,
    say_next,
    unpacking_options,
)
from accelsim.plugins.extras import need
from accelsim.report.formats import Format


@click.command("sensitivity")
@click.argument("model")
@output_option("The folder of the results [default: runs/sensitivity-MODEL]")
@model_options
@click.option(
    "--beta",
    "betas",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(15.0, 63.0),
    show_default=True,
    help="Try this β for each kind of operand; may be repeated.",
)
@rounding_options
@click.option(
    "--bits",
    "bits",
    type=click.IntRange(2, 16),
    multiple=True,
    default=(4, 8),
    show_default=True,
    help="Count the unpack ratio for digits of this width; may be repeated.",
)
@unpacking_options
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Windows of the text.",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=2),
    default=128,
    show_default=True,
    help="Tokens of a window.",
)
@click.option(
    "--gemm", "gemms", multiple=True, default=("*",), metavar="GLOB", help="Only these places."
)
@run_folder_options
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the heat map into this file (.svg, .pdf or .png); needs the extra report.",
)
@click.option(
    "--scatter",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the loss against the local error into this file.",
)
@format_option("the table")
def command(
    model: str,
    output: Path | None,
    gguf: str | None,
    text: Path | None,
    betas: tuple[float, ...],
    percentile: float,
    granularity: str,
    bits: tuple[int, ...],
    strategy: str,
    block: int,
    windows: int,
    tokens: int,
    gemms: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    scatter: Path | None,
    style: Format,
) -> int:
    """Round each kind of operand of each GEMM of MODEL alone, and see what it does to the loss.

    MODEL is a name of `accelsim workloads models`, or a local Hugging Face folder with its
    tokenizer. For a module of your own, measure plans with accelsim.integer_gemms
    (docs/guide-researcher.md).

    What the model computes before the GEMM is kept and not computed again. `accelsim tune` makes
    plans of the records.
    """
    from accelsim.records import RunFolder
    from accelsim.records.tuning import SensitivityRecord
    from accelsim.report.figures.experiments import check_figure
    from accelsim.report.figures.sensitivity import draw_heat_map, draw_local_errors
    from accelsim.report.sensitivity import correlation_line, sensitivity_rows
    from accelsim.report.tables import render
    from accelsim.tuning.opening import check_model, open_subject, reads_text
    from accelsim.tuning.sensitivity import Examination, examine, settings_hash
    from accelsim.types import StrategyChoice
    from accelsim.unpack import load_strategy, split_options

    for path in (figure, scatter):
        if path is not None:
            check_figure(path)
    check_model(model)
    if not reads_text(model):
        refuse_given(("windows", "tokens"), f"{model} reads no text")
    need("transformers", "models")
    choice = StrategyChoice(*split_options(strategy))
    load_strategy(choice, block)
    examination = Examination(
        betas, percentile, granularity, bits, choice, block, windows, tokens, gemms
    )

    def say(line: str) -> None:
        click.echo(line, err=True)

    subject = open_subject(model, gguf, text, say)
    settings = examination.to_dict(subject)
    path = output or Path(f"runs/sensitivity-{subject.name}")
    with RunFolder.open(
        path, settings, settings_hash(settings), resume, overwrite, SensitivityRecord
    ) as folder:
        records = examine(subject, examination, folder, say)
        rows = sensitivity_rows(records)
        folder.finish(render(rows))
    click.echo(render(rows, None, style), nl=False)
    click.echo(correlation_line(records), err=True)
    for draw, file in ((draw_heat_map, figure), (draw_local_errors, scatter)):
        if file is not None:
            draw(records, file)
    click.echo(f"{len(records)} records in {path}", err=True)
    say_next(
        (f"accelsim report {path}", "a page with tables and figures"),
        (f"accelsim tune {model} --target ... --sensitivity {path}", "the cheapest plan"),
    )
    return 0
