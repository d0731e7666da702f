"""The figure of ``accelsim ladder``: relative errors against the unpack ratio, floats beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.errors import InputError
from accelsim.records.ladder import LadderRecord
from accelsim.report.figures.figure import PALETTE, Figure, NothingToDrawError, style
from accelsim.report.figures.sheet import WIDE, legend, panels, trace
from accelsim.report.ladder import rungs_of


def draw_ladder(records: Sequence[LadderRecord], path: Path) -> None:
    """Draw relative errors against r into a file.

    Raises
    ------
    InputError
        If there are no records.
    """
    if not records:
        raise InputError("there is nothing to draw: no GEMM was computed")
    with style():
        figure = ladder(records)
    figure.write(path)


def ladder(records: Sequence[LadderRecord], width: float = WIDE) -> Figure:
    """Draw the medians over the GEMMs.

    Parameters
    ----------
    records : sequence of LadderRecord
        At least one with integers.
    width : float
        In inches.

    Raises
    ------
    NothingToDrawError
        If nothing was computed in integers.
    """
    canvas, (axes,) = panels(width, 1, height=3.4)
    rungs = rungs_of(records)
    integers = [rung for rung in rungs if rung.ratio is not None]
    floats = [rung for rung in rungs if rung.ratio is None]
    if not integers:
        raise NothingToDrawError("nothing was computed in integers")
    trace(axes, [r.ratio for r in integers], [r.error for r in integers], 0, "integers")
    for rung in integers:
        axes.annotate(f" {rung.beta:,.7g}", (rung.ratio or 1, rung.error), fontsize="x-small")
    for index, rung in enumerate(floats, start=1):
        color = PALETTE[index % len(PALETTE)]
        axes.axhline(rung.error, color=color, linewidth=1, linestyle="--", label=rung.way)
    axes.set(yscale="log", xlabel="unpack ratio r", ylabel="relative error of the product")
    legend(canvas)
    gemms = len({(record.workload, record.gemm) for record in records})
    finest = min(integers, key=lambda rung: rung.error)
    return Figure(
        name="ladder",
        title="From coarse integers to float32",
        alt=f"{len(integers)} values of β and {len(floats)} float formats on {gemms} GEMMs.",
        caption=f"Medians over {gemms} GEMMs; β stands at each point. At β = {finest.beta:g} the "
        f"error is {finest.error:.2g}.",
        canvas=canvas,
    )
