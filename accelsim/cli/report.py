"""``accelsim report``: runs as one HTML page, and figures for papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.shared import output_option
from accelsim.errors import AccelsimError, InputError
from accelsim.plugins.extras import how_to_install

if TYPE_CHECKING:
    from accelsim.records import Run
    from accelsim.records.loading import ExperimentRun
    from accelsim.report.figures import Figure

_NEEDED = ("jinja2", "seaborn")


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option(
    "The page to write [default: report.html in the folder of the run, or in the current folder "
    "for several runs]"
)
@click.option(
    "--figures",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each figure here, too, as PDF and PNG.",
)
def command(runs: tuple[Path, ...], output: Path | None, folder: Path | None) -> None:
    """Write one HTML page about RUNS: run folders, or the records.jsonl of one.

    RUNS are all of one command: run, eval, train, sensitivity, tune or ladder; or one file that
    invariance wrote. The page needs no network:
    verdicts, tables that sort and filter, figures. Later runs of GEMMs are compared with the first.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"a report needs {' and '.join(missing)}: {how_to_install('report')}")
    from accelsim.records import Record
    from accelsim.records.loading import kind_of
    from accelsim.report.html.invariance import is_invariance, render_invariance

    if any(map(is_invariance, runs)):
        if len(runs) > 1 or folder is not None:
            raise InputError("one page shows one file of accelsim invariance, without figures")
        _write(output or runs[0].with_suffix(".html"), render_invariance(runs[0]))
        return
    page = output or _default_page(runs)
    kinds = {kind_of(path) for path in runs}
    if len(kinds) > 1:
        raise InputError(
            "the runs are of different kinds (run, eval, train, sensitivity, tune, ladder): write "
            "a page for each"
        )
    kind = kinds.pop()
    if kind is Record:
        _report_runs(runs, page, folder)
    else:
        _report_experiments(runs, kind, page, folder)


def _default_page(runs: Sequence[Path]) -> Path:
    """Return the page beside a run; that of several runs belongs to none of their folders."""
    from accelsim.records.folder import PAGE

    if len(runs) > 1:
        return Path(PAGE)
    (run,) = runs
    return (run if run.is_dir() else run.parent) / PAGE


def _report_runs(paths: Sequence[Path], page: Path, folder: Path | None) -> None:
    """Write the page and the figures of runs of GEMMs."""
    from accelsim.records import load_run
    from accelsim.report.figures import draw
    from accelsim.report.html import render_page

    runs = [load_run(path) for path in paths]
    _refuse_empty(paths, runs)
    figures, left_out = draw(runs)
    if folder is not None:
        _save(figures, left_out, folder)
    _write(page, render_page(runs, figures, left_out))


def _report_experiments(
    paths: Sequence[Path],
    kind: type[Any],
    page: Path,
    folder: Path | None,
) -> None:
    """Write the page and the figures of experiments with models."""
    from accelsim.records.loading import load_experiment
    from accelsim.report.differences import labels
    from accelsim.report.html import render_experiments
    from accelsim.report.html.experiment import AboutExperiment

    runs = [load_experiment(path, kind) for path in paths]
    _refuse_empty(paths, runs)
    names = labels(runs)
    if folder is not None:
        about = [AboutExperiment(run, name) for run, name in zip(runs, names, strict=True)]
        for one in about:
            _save(one.figures, one.left_out, folder)
    _write(page, render_experiments(runs, names))


def _refuse_empty(paths: Sequence[Path], runs: Sequence[Run | ExperimentRun]) -> None:
    for path, run in zip(paths, runs, strict=True):
        if not run.records:
            raise InputError(f"{path} has no records yet")


def _save(figures: Sequence[Figure], left_out: Mapping[str, str], folder: Path) -> None:
    """Write the files of figures, and report which are not drawn."""
    written = [path for figure in figures for path in figure.save(folder)]
    click.echo(f"wrote {len(written)} files of figures in {folder}", err=True)
    for name, reason in left_out.items():
        click.echo(f"accelsim: note: not drawn: {name}: {reason}", err=True)


def _write(page: Path, text: str) -> None:
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AccelsimError(f"cannot write {page}: {error.strerror}") from error
    click.echo(f"wrote {page}", err=True)
