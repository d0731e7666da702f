"""Figures of the probed steps of ``accelsim train``, in which heavy hitters may grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from accelsim.records.experiments import TrainRecord
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.sheet import legend, panels
from accelsim.report.figures.training import MOST_LINES, curve

PASSES = ("forward", "backward")


def ratios(records: Sequence[TrainRecord], width: float) -> Figure:
    """Draw the unpack ratio over the steps, of the forward and of the backward GEMMs.

    Raises
    ------
    NothingToDrawError
        If no step ran on a backend.
    """
    drawn = {
        name: _curves(records, lambda probe, name=name: probe.get(f"{name}_ratio"))
        for name in PASSES
    }
    canvas, shown, every = _panels(drawn, width, by_bits=True)
    return Figure(
        "ratios",
        "Unpack ratio over the steps",
        f"The unpack ratio r of {len(shown)} runs over the steps, forward and backward.",
        "The unpack ratio r of all forward and of all backward GEMMs of steps that ran on a "
        "backend. Lines are means over the seeds, bands go from the least to the largest."
        f"{left_out('the treatment', shown, every)}",
        canvas,
    )


def largest(records: Sequence[TrainRecord], width: float) -> Figure:
    """Draw the largest integer over the steps, of the forward and of the backward GEMMs.

    Raises
    ------
    NothingToDrawError
        If no step ran on a backend, or its integers were not looked at.
    """

    def most(probe: dict[str, Any], name: str) -> float | None:
        return max(probe.get(f"{name}_largest", {}).values(), default=None)

    drawn = {
        name: _curves(records, lambda probe, name=name: most(probe, name), first=True)
        for name in PASSES
    }
    canvas, shown, every = _panels(drawn, width, by_bits=False)
    for axes in canvas.axes:
        axes.set_yscale("log")
    return Figure(
        "largest-integers",
        "Largest integer over the steps",
        f"The largest integer of {len(shown)} runs over the steps, forward and backward.",
        "The largest magnitude of an integer among the operands of all forward and of all backward "
        "GEMMs of a step. Lines are means over the seeds, bands go from the least to the largest."
        f"{left_out('the treatment', shown, every)}",
        canvas,
    )


Curves = dict[tuple[str, Any], list[list[list[float]]]]
"""Label and bits to the curves of the seeds."""


def _curves(records: Sequence[TrainRecord], value: Any, first: bool = False) -> Curves:
    """Return the curves of a value of the probes; with `first` of the first width alone."""
    found: Curves = defaultdict(list)
    for record in records:
        own: dict[str, list[list[Any]]] = defaultdict(list)
        for probe in record.probes:
            known = value(probe)
            if known is not None:
                own[str(probe.get("bits"))].append([probe["step"], known])
        for bits, points in list(own.items())[: 1 if first else None]:
            found[record.label, bits].append(points)
    return found


def _panels(
    drawn: dict[str, Curves], width: float, by_bits: bool
) -> tuple[Any, list[str], list[str]]:
    every = list(dict.fromkeys(key for curves in drawn.values() for key in curves))
    if not every:
        raise NothingToDrawError("no step ran on a backend; `probe` in the config asks for some")
    several = by_bits and len({bits for _, bits in every}) > 1
    names = {key: f"{key[0]}, b = {key[1]}" if several else key[0] for key in every}
    shown = chosen(every, MOST_LINES)
    canvas, all_axes = panels(width, len(PASSES), height=3.2, least=2.9, share=False)
    for axes, (name, curves) in zip(all_axes, drawn.items(), strict=True):
        for index, key in enumerate(shown):
            if curves.get(key):
                curve(axes, curves[key], names[key], index)
        axes.set(title=name, xlabel="step")
    legend(canvas)
    return canvas, [names[key] for key in shown], [names[key] for key in every]
