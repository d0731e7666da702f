"""The figures of experiments with models: for a page, and for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.records.ladder import LadderRecord
from accelsim.records.loading import ExperimentRecord
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.report.figures.figure import Figure, NothingToDrawError, style
from accelsim.report.figures.ladder import ladder
from accelsim.report.figures.quality import quality
from accelsim.report.figures.sensitivity import heat_map, local_errors
from accelsim.report.figures.sheet import NARROW, WIDE
from accelsim.report.figures.training import training
from accelsim.report.figures.training_integers import largest, ratios
from accelsim.report.figures.tuning import pareto_of_plans

R = TypeVar("R", EvalRecord, TrainRecord)

_DRAWN: dict[type[ExperimentRecord], dict[str, Callable[[Sequence[Any], float], Figure]]] = {
    EvalRecord: {"figure": quality},
    TrainRecord: {"figure": training, "ratios": ratios, "largest-integers": largest},
    SensitivityRecord: {"sensitivity": heat_map, "local-errors": local_errors},
    TuneRecord: {"plans": pareto_of_plans},
    LadderRecord: {"ladder": ladder},
}
"""What a page shows of each kind of records."""

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
    records: Sequence[ExperimentRecord],
) -> tuple[list[Figure], dict[str, str]]:
    """Draw what a page shows of the records of one run.

    Returns
    -------
    figures : list of Figure
        Each for a wide and for a narrow screen.
    left_out : dict
        The name of each that cannot be drawn, and why.
    """
    figures, left_out = [], {}
    for name, draw in _DRAWN[type(records[0])].items():
        try:
            with style():
                wide, narrow = (draw(records, width) for width in (WIDE, NARROW))
        except NothingToDrawError as error:
            left_out[name] = str(error)
        else:
            figures.append(replace(wide, narrow=narrow.canvas))
    return figures, left_out


def _write(draw: Callable[[Sequence[R], float], Figure], records: Sequence[R], path: Path) -> None:
    try:
        with style():
            figure = draw(records, WIDE)
    except NothingToDrawError as error:
        raise InputError(f"there is nothing to draw: {error}") from None
    figure.write(path)
