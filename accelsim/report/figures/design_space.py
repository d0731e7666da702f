"""Area x time of modelled accelerators against the width of the multiplier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.described import Described
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import design_frame, kinds
from accelsim.report.figures.sheet import legend, panels, plain_ticks, trace

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_PANELS = 4
MOST_DESIGNS = 8

_WIDTH = "b"
"""The part of a design's name that is the axis."""


def design_space(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw area x time of every design without a wrong product, and mark the least.

    Both operands have the width of the axis; the rounding makes the panels.
    """
    sums = _sums(runs)
    widths = sorted(sums["bits"].unique()) if len(sums) else []
    if len(widths) < 2:
        raise NothingToDrawError("fewer than two widths b have designs without a wrong product")
    sums["relative"] = sums["area_time"] / sums.groupby("asked")["area_time"].transform("min")
    best_first = sums.groupby("name")["relative"].min().sort_values(kind="stable")
    names = list(best_first.index[:MOST_DESIGNS])
    every = list(dict.fromkeys(sums["asked"]))
    shown = chosen(every, MOST_PANELS)
    canvas, all_axes = panels(width, len(shown), height=3.0)
    said = []
    for asked, axes in zip(shown, all_axes, strict=True):
        plain_ticks(axes.yaxis, base=2)
        rows = sums[sums["asked"] == asked].sort_values("bits", kind="stable")
        for index, name in enumerate(names):
            of = rows[rows["name"] == name]
            trace(axes, of["bits"].tolist(), of["relative"].tolist(), index, name)
        ink = axes.xaxis.label.get_color()
        axes.axhline(1, color=ink, linewidth=1, linestyle=":")
        axes.set(title=asked or None, xlabel="b, bits of the multiplier", xticks=widths)
        least = rows[rows["relative"] == 1].iloc[0]
        axes.annotate(
            f"b = {least['bits']}", (least["bits"], 1), (0, -6), textcoords="offset points",
            ha="center", va="top", fontweight="bold",
        )  # fmt: skip
        said.append(f"{f'at {asked} ' if asked else ''}b = {least['bits']} with {least['name']}")
    highest = sums[sums["name"].isin(names) & sums["asked"].isin(shown)]["relative"].max()
    all_axes[0].set(ylabel="area × time over the least", ylim=(0.6, max(1.25 * highest, 2)))
    legend(canvas)
    left = left_out("the rounding", shown, every)
    if len(best_first) > MOST_DESIGNS:
        left += f" Of {len(best_first)} designs the {MOST_DESIGNS} with the least area × time."
    return Figure(
        "design-space",
        "Area × time against width",
        f"Marks for each of {len(names)} designs over {len(widths)} widths. The "
        f"least area × time is {', and '.join(said)}.",
        "Relative area of the whole accelerator times its seconds (its cycles where the model has "
        "no clock), shift-adds and stalls included, summed over all GEMMs, over the least of the "
        "designs for the same β. Designs of which a product was wrong are left out. Narrow "
        "multipliers are small but need more multiplications; narrow accumulators are small but K "
        "must be cut for them, and every cut "
        f"costs shift-adds. Points are joined where there are three or more.{left}",
        canvas,
    )


def _sums(runs: Sequence[Described]) -> DataFrame:
    """Return the designs without a wrong product, with their widths and names without them."""
    designs, _ = design_frame(runs)
    if not len(designs):
        raise NothingToDrawError("no record has area_time")
    names = kinds(designs, without=_WIDTH)
    rows = designs.assign(
        bits=[design.records[0].bits for design in designs["design"]],
        area_time=[design.area_time for design in designs["design"]],
        sound=[design.sound for design in designs["design"]],
        name=[
            name or design.records[0].backend
            for name, design in zip(names, designs["design"], strict=True)
        ],
    )
    kept = rows["sound"] & rows["area_time"].notna()
    kept &= rows["bits"].map(lambda bits: isinstance(bits, int | float))
    return rows[kept].copy()
