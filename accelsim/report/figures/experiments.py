"""The figures of eval and train runs: for a page, and for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.report.figures.figure import Figure, NothingToDrawError, style
from accelsim.report.figures.quality import quality
from accelsim.report.figures.sheet import NARROW, WIDE
from accelsim.report.figures.training import training

R = TypeVar("R", EvalRecord, TrainRecord)

SUFFIXES = (".svg", ".pdf", ".png")


def check_figure(path: Path) -> None:
    """Check before the work that a figure can be drawn.

    Raises
    ------
    InputError
        If the file's kind is unknown, its folder is missing, or seaborn is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"--figure {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"--figure {path}: there is no folder {path.parent}")
    need("seaborn", "report")


def draw_quality(records: Sequence[EvalRecord], path: Path) -> None:
    """Draw the quality against β into a file."""
    _write(quality, records, path)


def draw_training(records: Sequence[TrainRecord], path: Path) -> None:
    """Draw the curves of training into a file."""
    _write(training, records, path)


def experiment_figures(
    records: Sequence[EvalRecord | TrainRecord],
) -> tuple[list[Figure], dict[str, str]]:
    """Draw what a page shows of the records of one run.

    Returns
    -------
    figures : list of Figure
        Each for a wide and for a narrow screen.
    left_out : dict
        The name of each that cannot be drawn, and why.
    """
    try:
        with style():
            wide, narrow = (_figure(records, width) for width in (WIDE, NARROW))
    except NothingToDrawError as error:
        return [], {"figure": str(error)}
    return [replace(wide, narrow=narrow.canvas)], {}


def _figure(records: Sequence[EvalRecord | TrainRecord], width: float) -> Figure:
    trained = [record for record in records if isinstance(record, TrainRecord)]
    evaluated = [record for record in records if isinstance(record, EvalRecord)]
    return training(trained, width) if trained else quality(evaluated, width)


def _write(draw: Callable[[Sequence[R], float], Figure], records: Sequence[R], path: Path) -> None:
    try:
        with style():
            figure = draw(records, WIDE)
    except NothingToDrawError as error:
        raise InputError(f"there is nothing to draw: {error}") from None
    figure.write(path)
