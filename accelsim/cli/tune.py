"""``accelsim tune``: the cheapest integers that keep a model's quality."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.shared import (
    format_option,
    granularity_option,
    model_options,
    output_option,
    refuse_given,
    run_folder_options,
    say_next,
    unpacking_options,
)
from accelsim.plugins.extras import need
from accelsim.report.formats import Format

BETAS = (7.0, 14.0, 31.0, 63.0, 95.0, 127.0, 159.0, 191.0, 223.0, 254.0)
PERCENTILES = (95.0, 98.0, 99.0, 99.5, 100.0)


@click.command("tune")
@click.argument("model")
@click.option(
    "--target",
    required=True,
    help="Such as 'perplexity +0.5%', for an encoder 'cosine 0.995', for a classifier "
    "'accuracy -1%', for training 'loss +1% after 100 steps'.",
)
@click.option(
    "--cost",
    type=click.Choice(("macs", "cycles", "energy", "time", "bytes")),
    default="macs",
    show_default=True,
    help="What is made small.",
)
@output_option("The folder of the results [default: runs/tune-MODEL]")
@click.option(
    "--sensitivity",
    "sensitivities",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A run of accelsim sensitivity; measured first by default.",
)
@model_options
@click.option(
    "--beta",
    "betas",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=BETAS,
    show_default=True,
    help="A β to choose among; may be repeated.",
)
@click.option(
    "--percentile",
    "percentiles",
    type=click.FloatRange(0, 100, min_open=True),
    multiple=True,
    default=PERCENTILES,
    show_default=True,
    help="Which magnitude becomes beta / 2, to choose among; may be repeated.",
)
@granularity_option
@click.option(
    "--bits",
    "bits",
    type=click.IntRange(2, 16),
    multiple=True,
    default=(8,),
    show_default=True,
    help="A width of digits to choose among; may be repeated.",
)
@unpacking_options
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Windows of the text that verify a plan, and as many between them.",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    help="Tokens of a window.",
)
@click.option(
    "--accelerator",
    default="edge",
    show_default=True,
    metavar="NAME",
    help="The described accelerator whose cycles and energy are predicted.",
)
@click.option("--backend", metavar="NAME", help="What is timed for --cost time, which needs it.")
@click.option("--pareto", is_flag=True, help="Evaluate other targets and plans of one β as well.")
@run_folder_options
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw quality against cost into this file (.svg, .pdf or .png); needs the extra report.",
)
@format_option("the table")
def command(
    model: str,
    target: str,
    cost: str,
    output: Path | None,
    sensitivities: Path | None,
    gguf: str | None,
    text: Path | None,
    betas: tuple[float, ...],
    percentiles: tuple[float, ...],
    granularity: str,
    bits: tuple[int, ...],
    strategy: str,
    block: int,
    windows: int,
    tokens: int,
    accelerator: str,
    backend: str | None,
    pareto: bool,
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    style: Format,
) -> int:
    """Find the plan for MODEL that keeps a target at the least cost.

    MODEL is a name of `accelsim workloads models`, or a local Hugging Face folder with its
    tokenizer. For a module of your own, measure plans with accelsim.integer_gemms
    (docs/guide-researcher.md).

    Costs are counted from the digits of the operands, errors are predicted from sensitivities, and
    the plan is verified by an evaluation of the whole model, on text that was not tuned on, too.
    It is written as plan.yaml (plan-1.yaml and so on for a front); with a target that cannot be
    met, the nearest plan as nearest.yaml, and the exit status is 1.
    """
    from accelsim.records import RunFolder
    from accelsim.records.tuning import TuneRecord
    from accelsim.report.figures.experiments import check_figure
    from accelsim.report.figures.tuning import draw_front
    from accelsim.report.tables import render
    from accelsim.report.tuning import front, saved, tuning_rows
    from accelsim.tuning.curves import Grid
    from accelsim.tuning.opening import check_model, open_subject, reads_text
    from accelsim.tuning.prices import accelerator_backend, price_of
    from accelsim.tuning.sensitivity import settings_hash
    from accelsim.tuning.target import Target
    from accelsim.tuning.tune import (
        SENSITIVITY,
        Tune,
        examine_first,
        read_sensitivities,
        tune,
        write_plan,
    )
    from accelsim.types import StrategyChoice
    from accelsim.unpack import load_strategy, split_options

    if figure is not None:
        check_figure(figure)
    asked = Target.parse(target)
    check_model(model)
    if not reads_text(model):
        refuse_given(("windows", "tokens"), f"{model} reads no text")
    need("transformers", "models")
    choice = StrategyChoice(*split_options(strategy))
    load_strategy(choice, block)
    grid = Grid(tuple(sorted(set(betas))), bits, percentiles, granularity, choice, block)
    price = price_of(cost, accelerator, backend)
    for width in bits:
        accelerator_backend(accelerator, width)
    how = Tune(asked, cost, grid, windows, tokens, accelerator, pareto)

    def say(line: str) -> None:
        click.echo(line, err=True)

    subject = open_subject(model, gguf, text, say, asked)
    path = output or Path(f"runs/tune-{subject.name}")
    settings = how.to_dict(subject)
    with RunFolder.open(
        path, settings, settings_hash(settings), resume, overwrite, TuneRecord
    ) as folder:
        if sensitivities is None:
            errors = examine_first(subject, grid, min(128, tokens), path / SENSITIVITY, say)
        else:
            errors = read_sensitivities(sensitivities, subject, grid)
        found = tune(subject, how, price, errors, folder, say)
        rows = tuning_rows(found.records)
        folder.finish(render(rows))
    click.echo(render(rows, None, style), nl=False)
    if found.best is not None:
        write_plan(found.best, path / "plan.yaml")
        click.echo(f"{asked.shown(found.best.harm)}: {path / 'plan.yaml'}", err=True)
        if found.uniform is None:
            click.echo("no plan of one β for all that was tried keeps the target", err=True)
        else:
            click.echo(saved(found.best, found.uniform, accelerator), err=True)
    if pareto:
        for number, record in enumerate(front(found.records), start=1):
            write_plan(record, path / f"plan-{number}.yaml")
    if figure is not None:
        draw_front(found.records, figure)
    use = f"accelsim.integer_gemms(model, plan='{path / 'plan.yaml'}')"
    say_next(
        (f"accelsim report {path}", "a page with tables and figures"),
        *([] if found.best is None else [(use, "the model on the plan's integers")]),
    )
    if found.best is None:
        write_plan(found.nearest, path / "nearest.yaml")
        click.echo(
            f"no plan of this grid keeps {asked.text!r}; the nearest has "
            f"{asked.shown(found.nearest.harm)}: {path / 'nearest.yaml'}. Larger values of --beta "
            "may do it",
            err=True,
        )
        return 1
    return 0
