"""``accelsim report``: runs as one HTML page, and figures for papers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from accelsim.errors import AccelsimError, InputError
from accelsim.plugins.extras import how_to_install
from accelsim.records import load_run

_NEEDED = ("jinja2", "seaborn")


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page to write [default: report.html, unless --figures is given].",
)
@click.option(
    "--figures",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each figure here, as PDF and PNG.",
)
def command(runs: tuple[Path, ...], output: Path | None, folder: Path | None) -> None:
    """Write one HTML page about RUNS: run folders, or the records.jsonl of one.

    The page needs no network: verdicts, tables that sort and filter, figures. Later runs are
    compared with the first.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"a report needs {' and '.join(missing)}: {how_to_install('report')}")
    from accelsim.report.figures import draw
    from accelsim.report.html import render_page

    loaded = [load_run(path) for path in runs]
    for path, run in zip(runs, loaded, strict=True):
        if not run.records:
            raise InputError(f"{path} has no records yet")
    figures, left_out = draw(loaded)
    if folder is not None:
        written = [path for figure in figures for path in figure.save(folder)]
        click.echo(f"{len(written)} files in {folder}", err=True)
        for name, reason in left_out.items():
            click.echo(f"accelsim: note: not drawn: {name}: {reason}", err=True)
    if output is not None or folder is None:
        page = output or Path("report.html")
        text = render_page(loaded, figures, left_out)
        try:
            page.write_text(text, encoding="utf-8")
        except OSError as error:
            raise AccelsimError(f"cannot write {page}: {error.strerror}") from error
        click.echo(f"wrote {page}", err=True)
