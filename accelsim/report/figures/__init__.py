"""The figures of a report. To add one: a file with a function like the others, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from accelsim.records import Run
from accelsim.report.described import Described, describe
from accelsim.report.figures.design_space import design_space
from accelsim.report.figures.energy_by_component import energy_by_component
from accelsim.report.figures.figure import Figure, NothingToDrawError, style
from accelsim.report.figures.frame import frame
from accelsim.report.figures.heavy_hitters import heavy_hitters
from accelsim.report.figures.pareto import pareto
from accelsim.report.figures.ratio_by_bits import ratio_by_bits
from accelsim.report.figures.roofline import roofline
from accelsim.report.figures.sheet import NARROW, WIDE
from accelsim.report.figures.speedup_by_ratio import speedup_by_ratio
from accelsim.report.figures.stalls_by_gemm import stalls_by_gemm
from accelsim.report.figures.time_by_stage import time_by_stage
from accelsim.report.figures.traffic_by_operand import traffic_by_operand

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FIGURES", "Figure", "draw"]

Draw: TypeAlias = Callable[["DataFrame", Sequence[Described], float], Figure]
"""Takes the rows of `frame`, the runs, and the width in inches.

It raises `NothingToDrawError` if the records lack what it shows.
"""

OF_MODELS: tuple[Draw, ...] = (
    pareto,
    design_space,
    energy_by_component,
    stalls_by_gemm,
    traffic_by_operand,
)
MEASURED: tuple[Draw, ...] = (
    time_by_stage,
    speedup_by_ratio,
    roofline,
    ratio_by_bits,
    heavy_hitters,
)
FIGURES = (*MEASURED, *OF_MODELS)


def draw(runs: Sequence[Run]) -> tuple[list[Figure], dict[str, str]]:
    """Draw every figure that the records allow, those of models first where all are models.

    Each is drawn for wide and for narrow screens.

    Parameters
    ----------
    runs : sequence of Run
        What is drawn.

    Returns
    -------
    figures : list of Figure
    left_out : dict
        The name of each that cannot be drawn, and why.
    """
    described = describe(runs)
    data = frame(described)
    models = len(data) > 0 and bool(data["modelled"].all())
    figures, left_out = [], {}
    for function in (*OF_MODELS, *MEASURED) if models else FIGURES:
        try:
            with style():
                figure = function(data, described, WIDE)
                narrow = function(data, described, NARROW).canvas
                figures.append(replace(figure, narrow=narrow))
        except NothingToDrawError as error:
            left_out[function.__name__.replace("_", " ")] = str(error)
    return figures, left_out
