"""The figures of ``accelsim sensitivity``: a heat map of the layers, and errors against loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from accelsim.errors import InputError
from accelsim.records.tuning import SensitivityRecord
from accelsim.report.figures.figure import PALETTE, Figure, NothingToDrawError, style
from accelsim.report.figures.sheet import MARKERS, WIDE, legend, panels, plain_ticks
from accelsim.report.sensitivity import correlation, harm_name, spot

OTHERS = "others"
"""The row of places that are in no layer."""


def draw_heat_map(records: Sequence[SensitivityRecord], path: Path) -> None:
    """Draw the divergence of each layer and kind into a file.

    Raises
    ------
    InputError
        If no record has a divergence.
    """
    _write(heat_map, records, path)


def draw_local_errors(records: Sequence[SensitivityRecord], path: Path) -> None:
    """Draw the divergence against the local error into a file.

    Raises
    ------
    InputError
        If no record has both.
    """
    _write(local_errors, records, path)


def _write(
    draw: Callable[[Sequence[SensitivityRecord]], Figure],
    records: Sequence[SensitivityRecord],
    path: Path,
) -> None:
    try:
        with style():
            figure = draw(records)
    except NothingToDrawError as error:
        raise InputError(f"there is nothing to draw: {error}") from None
    figure.write(path)


def heat_map(records: Sequence[SensitivityRecord], width: float = WIDE) -> Figure:
    """Draw one panel for each β: layers down, places and kinds across, colours by divergence.

    Raises
    ------
    NothingToDrawError
        If no divergence is above 0.
    """
    import numpy as np
    from matplotlib.colors import LogNorm

    values = [record.divergence for record in records if record.divergence > 0]
    if not values:
        raise NothingToDrawError("no divergence is above 0")
    betas = sorted({record.beta for record in records})
    columns = list(dict.fromkeys(_column(record) for record in records))
    layers = sorted({s.layer for r in records if (s := spot(r.gemm)).layer is not None})
    rows = [*map(str, layers), *([OTHERS] if _others(records) else [])]
    least = max(min(values), max(values) / 1e5)
    norm = LogNorm(least, max(values))
    height = max(3.0, 0.15 * len(rows) + 2.0)
    canvas, grid = panels(width, len(betas), height=height, least=3.5)
    for axes, beta in zip(grid, betas, strict=True):
        cells = np.full((len(rows), len(columns)), math.nan)
        for record in records:
            if record.beta == beta:
                layer = spot(record.gemm).layer
                row = rows.index(OTHERS if layer is None else str(layer))
                cells[row, columns.index(_column(record))] = max(record.divergence, least)
        drawn = axes.imshow(cells, aspect="auto", norm=norm, cmap="magma_r", interpolation="none")
        axes.set_title(f"β = {beta:g}")
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
        every = max(1, len(rows) // 15)
        axes.set_yticks(range(0, len(rows), every), rows[::every], fontsize=7)
        axes.grid(False)
    grid[0].set_ylabel("layer")
    canvas.colorbar(drawn, ax=grid, label=f"{harm_name(records)} from floats", shrink=0.8)
    return Figure(
        name="sensitivity",
        title="Which layers need fine integers",
        alt=f"Heat map of {len(rows)} layers by {len(columns)} kinds of operands.",
        caption=(
            "Each cell is one kind of operand of one GEMM alone in integers; its colour is the "
            + (
                "divergence of the model's predictions from those of floats."
                if harm_name(records) == "divergence"
                else "squared error of all gradients, relative to those of floats."
            )
        ),
        canvas=canvas,
    )


def _column(record: SensitivityRecord) -> str:
    name = spot(record.gemm).name.rsplit(".", 2)[-2:]
    short = name[-1] if record.op == "linear" else ".".join(name[-1:])
    kind = "" if record.kind == "attention" else f", {record.kind}"
    return f"{short}{kind}"


def _others(records: Sequence[SensitivityRecord]) -> bool:
    return any(spot(record.gemm).layer is None for record in records)


def local_errors(records: Sequence[SensitivityRecord], width: float = WIDE) -> Figure:
    """Draw a point for each record, in the colour of its kind.

    Raises
    ------
    NothingToDrawError
        If no record has a local error and a divergence above 0.
    """
    found = correlation(records)
    if found is None:
        raise NothingToDrawError("fewer than three records have an error and a divergence")
    canvas, (axes,) = panels(width, 1, height=3.6)
    kinds = list(dict.fromkeys(record.kind for record in records))
    for index, kind in enumerate(kinds):
        own = [r for r in records if r.kind == kind and r.local_error and r.divergence > 0]
        axes.plot(
            [r.local_error for r in own], [r.divergence for r in own], linestyle="none",
            marker=MARKERS[index], markersize=3, color=PALETTE[index], label=kind, alpha=0.7,
        )  # fmt: skip
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.set(xlabel="local error of the GEMM", ylabel=f"{harm_name(records)} from floats")
    legend(canvas)
    return Figure(
        name="local-errors",
        title="Local errors and the loss",
        alt=f"Scatter plot of {found.points} points on logarithmic axes.",
        caption=(
            f"Each point is one kind of operand of one GEMM at one β. Rank correlation "
            f"{found.spearman:.2f}; the {harm_name(records)} grows as the error to the power "
            f"{found.slope:.2f}."
        ),
        canvas=canvas,
    )
