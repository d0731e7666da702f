"""Common parts of ``accelsim eval`` and ``accelsim train``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from accelsim.cli.shared import (
    format_option,
    output_option,
    run_folder_options,
    say_next,
    set_option,
)
from accelsim.plugins.guest import guest
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from accelsim.parity.configs import ParityConfig

C = TypeVar("C", bound=Callable[..., Any])


def options(command: C) -> C:
    """Add the arguments of an experiment: those of the config, then those of `carry_out`."""
    for decorate in (
        format_option("the table"),
        click.option(
            "--figure",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Draw the result into this file (.svg, .pdf or .png); needs the extra report.",
        ),
        click.option(
            "--require-coverage",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="Fail unless this share of a model's multiplications is in integers.",
        ),
        click.option(
            "--plan",
            "plans",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Add a treatment by this plan; may be repeated.",
        ),
        click.option("--device", metavar="DEVICE", help="Compute here: cpu, cuda or cuda:N."),
        run_folder_options,
        output_option("The folder of the results"),
        set_option,
        click.argument("config", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def with_device(overrides: Sequence[str], device: str | None) -> list[str]:
    """Return the overrides of a config with those that ``--device`` stands for."""
    return [*overrides, *([f"device={device}"] if device else [])]


def carry_out(
    config: ParityConfig[Any],
    kind: type[Any],
    work: Callable[..., list[Any]],
    unit: str,
    table: Callable[[list[Any]], list[dict[str, Any]]],
    draw: Callable[[list[Any], Path], None],
    *,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    style: Format,
    require_coverage: float | None,
) -> int:
    """Make an experiment's records, its table and its figure.

    Parameters
    ----------
    config : ParityConfig
        Of the experiment.
    kind : type
        Of its records; their `failed` decides on the exit status.
    work, table, draw : callable
        Make the records in a folder, the rows of the table and the figure.
    unit : str
        What `work` counts within a treatment.

    Raises
    ------
    InputError
        If the figure cannot be drawn, the folder cannot be used, or `work` finds something wrong.
    """
    from rich.console import Console

    from accelsim.cli.experiment_progress import watching
    from accelsim.records import RunFolder
    from accelsim.report.figures.experiments import check_figure
    from accelsim.report.tables import render

    if figure is not None:
        check_figure(figure)
    path = output or config.output
    with RunFolder.open(
        path, config.to_dict(), config.config_hash, resume, overwrite, kind
    ) as folder:
        with watching(Console(stderr=True), unit) as (say, show), guest():
            records = work(config, folder, say, show)
        rows = table(records)
        folder.finish(render(rows))
    click.echo(render(rows, None, style), nl=False)
    if figure is not None:
        draw(records, figure)
    click.echo(f"{len(records)} records in {path}", err=True)
    say_next((f"accelsim report {path}", "a page with tables and figures"))
    lacking = report_coverage([(r.label, r.tally) for r in records], require_coverage)
    return int(lacking or any(record.failed for record in records))


def report_coverage(
    tallies: Iterable[tuple[str, Mapping[str, Any]]], required: float | None
) -> bool:
    """Print what stayed in floats if it is too much; return whether that is an error.

    Parameters
    ----------
    tallies : iterable of tuple
        The name of a run, and the summary of its tally.
    required : float or None
        See `accelsim.parity.coverage.shortfall`.
    """
    from accelsim.parity.coverage import shortfall

    kind = "warning" if required is None else "error"
    found = [(label, text) for label, tally in tallies if (text := shortfall(tally, required))]
    for label, text in dict.fromkeys(found):
        click.echo(f"{kind}: {label}: {text}", err=True)
    return required is not None and bool(found)
