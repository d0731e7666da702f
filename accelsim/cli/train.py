"""``accelsim train``: whether integers are enough to train a model from scratch."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.report.tables import FORMATS, Format, render


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--device", metavar="DEVICE", help="Train here: cpu, cuda or cuda:N.")
@click.option("--output", type=click.Path(path_type=Path), help="The folder of the results.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace what is in the folder.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the curves into this file (.svg, .pdf or .png); needs accelsim[report].",
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="Of the table.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    device: str | None,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    form: Format,
) -> int:
    """Train the small model of the YAML file CONFIG in floats and in integers.

    Every treatment starts from the same weights and sees the same data in the same order.
    """
    from accelsim.parity.configs import load_train_config
    from accelsim.parity.figures import check_figure, draw_training
    from accelsim.parity.training import TrainRecord, table, train
    from accelsim.results import RunFolder

    if figure is not None:
        check_figure(figure)
    resolved = load_train_config(config, [*overrides, *([f"device={device}"] if device else [])])
    path = output or resolved.output
    with RunFolder.open(
        path, resolved.to_dict(), resolved.config_hash, resume, overwrite, TrainRecord
    ) as folder:
        records = train(resolved, folder, lambda line: click.echo(line, err=True))
        rows = table(records)
        folder.finish(render(rows))
    click.echo(render(rows, None, form), nl=False)
    if figure is not None:
        draw_training(records, figure)
    click.echo(f"{len(records)} records in {path}", err=True)
    return int(any(record.reason for record in records))
