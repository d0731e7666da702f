"""``accelsim eval``: whether integers are enough for a model that is trained already."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.report.tables import FORMATS, Format, render


@click.command("eval")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--output", type=click.Path(path_type=Path), help="The folder of the results.")
@click.option("--resume", is_flag=True, help="Go on with what is in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace what is in the folder.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the quality against β into this file (.svg, .pdf or .png); needs accelsim[report].",
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="Of the table.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    overwrite: bool,
    figure: Path | None,
    form: Format,
) -> int:
    """Evaluate the model of the YAML file CONFIG with its GEMMs in floats, in integers, clipped.

    A causal language model gets its perplexity on a text, an encoder the cosine of its embeddings
    to those in floating point. Needs accelsim[models].
    """
    from accelsim.parity.configs import load_eval_config
    from accelsim.parity.evaluation import EvalRecord, evaluate, table
    from accelsim.parity.figures import check_figure, draw_quality
    from accelsim.results import RunFolder

    if figure is not None:
        check_figure(figure)
    resolved = load_eval_config(config, overrides)
    path = output or resolved.output
    with RunFolder.open(
        path, resolved.to_dict(), resolved.config_hash, resume, overwrite, EvalRecord
    ) as folder:
        records = evaluate(resolved, folder, lambda line: click.echo(line, err=True))
        rows = table(records)
        folder.finish(render(rows))
    click.echo(render(rows, None, form), nl=False)
    if figure is not None:
        draw_quality(records, figure)
    click.echo(f"{len(records)} records in {path}", err=True)
    return int(any(record.failed for record in records))
