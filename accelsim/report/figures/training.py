"""The figure of ``accelsim train``: the curves of every treatment, floats among them (parity)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from accelsim.records.experiments import TrainRecord
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import PALETTE, Figure, NothingToDrawError
from accelsim.report.figures.sheet import FEWEST_OF_A_LINE, MARKERS, legend, panels

MOST_LINES = 8


def training(records: Sequence[TrainRecord], width: float) -> Figure:
    """Draw the held-out metric and the training loss over the steps; bands span the seeds.

    Raises
    ------
    NothingToDrawError
        If no run came to its first evaluation.
    """
    runs: dict[str, list[TrainRecord]] = defaultdict(list)
    for record in records:
        if record.evaluations:
            runs[record.label].append(record)
    if not runs:
        raise NothingToDrawError("no run came to its first evaluation")
    labels = chosen(list(runs), MOST_LINES)
    canvas, all_axes = panels(width, 2, height=3.2, least=2.9, share=False)
    colour = 0
    for label in labels:
        of = runs[label]
        is_float = of[0].treatment["method"] == "float"
        index = None if is_float else colour
        colour += not is_float
        for axes, curves in zip(
            all_axes, ([r.evaluations for r in of], [r.losses for r in of]), strict=True
        ):
            curve(axes, curves, "float (parity)" if is_float else label, index)
    metric = records[0].metric
    for axes, title in zip(all_axes, (metric, "training loss"), strict=True):
        axes.set(title=title, xlabel="step")
    legend(canvas)
    finals = {
        label: fmean(found)
        for label in labels
        if (found := [record.final for record in runs[label] if record.final is not None])
    }
    seeds = len({record.seed for record in records})
    said = "; ".join(f"{label} {value:.4g}" for label, value in finals.items())
    return Figure(
        "training",
        f"{metric.capitalize()} over the steps",
        f"Curves of {len(labels)} treatments over {seeds} seeds. At the end the {metric} is: "
        f"{said}.",
        f"The {metric} on held-out data, and the mean loss of the steps since the last "
        "point. Lines are means over the seeds, bands go from the least to the largest; the "
        "dashed line is training in floating point."
        f"{left_out('the treatment', labels, list(runs))}",
        canvas,
    )


def curve(
    axes: Any, curves: Iterable[Sequence[Sequence[float]]], label: str, index: int | None
) -> None:
    """Draw the mean of some curves, and the band that they span; without an index in ink."""
    values: dict[float, list[float]] = defaultdict(list)
    for curve in curves:
        for step, value in curve:
            values[step].append(value)
    steps = sorted(values)
    ink = axes.xaxis.label.get_color()
    colour = ink if index is None else PALETTE[index % len(PALETTE)]
    line = "--" if index is None else "-"
    axes.plot(
        steps, [fmean(values[step]) for step in steps], color=colour, label=label,
        marker=None if index is None or len(steps) > 40 else MARKERS[index % len(MARKERS)],
        linestyle=line if len(steps) >= FEWEST_OF_A_LINE else "none", markersize=4, linewidth=1.4,
    )  # fmt: skip
    low, high = ([pick(values[step]) for step in steps] for pick in (min, max))
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
