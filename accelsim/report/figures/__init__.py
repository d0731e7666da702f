"""The figures of a report. To add one: a file with a function like the others, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.report.figures.design_space import design_space
from accelsim.report.figures.figure import Figure, NothingToDrawError, style
from accelsim.report.figures.frame import frame
from accelsim.report.figures.heavy_hitters import heavy_hitters
from accelsim.report.figures.ratio_by_bits import ratio_by_bits
from accelsim.report.figures.roofline import roofline
from accelsim.report.figures.speedup_by_ratio import speedup_by_ratio
from accelsim.report.figures.time_by_stage import time_by_stage

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FIGURES", "Figure", "draw"]

FIGURES: tuple[Callable[[DataFrame, Sequence[Run]], Figure], ...] = (
    time_by_stage,
    ratio_by_bits,
    speedup_by_ratio,
    roofline,
    heavy_hitters,
    design_space,
)
"""Each takes the rows of `frame` and the runs, and raises `NothingToDrawError` if it lacks data."""


def draw(runs: Sequence[Run]) -> tuple[list[Figure], dict[str, str]]:
    """Draw every figure that the records allow.

    Returns
    -------
    figures : list of Figure
    left_out : dict
        The name of each that cannot be drawn, and why.
    """
    data = frame(runs)
    figures, left_out = [], {}
    for function in FIGURES:
        try:
            with style():
                figures.append(function(data, runs))
        except NothingToDrawError as error:
            left_out[function.__name__.replace("_", " ")] = str(error)
    return figures, left_out
