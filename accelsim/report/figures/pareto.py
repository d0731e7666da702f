"""Energy, and area, of modelled accelerators against their time, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from accelsim.report.described import Described
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import design_frame
from accelsim.report.figures.sheet import MARKERS, legend, panels, prefixed, spread

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

MOST_ASKED = 2
FEWEST_DESIGNS = 3
MOST_NAMES = 4
"""Number of designs on the front that are named in the figure."""

_COSTS = ("energy", "area_mm2", "relative_area")
_WORDS = {
    "energy": "energy", "area_mm2": "area, mm²", "relative_area": "area, relative",
    "seconds": "time", "cycles": "time, cycles",
}  # fmt: skip
_UNITS = {"energy": "J", "seconds": "s"}

LEAST_SPAN = 2.5
"""The factor from one end of an axis to the other, at least."""


def pareto(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw every design without a wrong product: energy against time, and area against time."""
    designs, parts = design_frame(runs)
    if len(designs):
        designs = designs[[design.sound for design in designs["design"]]]
        most = designs.groupby("asked")["label"].transform("size")
        designs = designs[most >= FEWEST_DESIGNS]
    if not len(designs):
        raise NothingToDrawError("fewer than three modelled accelerators have no wrong product")
    for name in ("seconds", "cycles", *_COSTS):
        designs = designs.assign(**{name: [getattr(d, name) for d in designs["design"]]})
    costs = [c for c in _COSTS if designs[c].notna().sum() >= FEWEST_DESIGNS]
    costs = costs[:2] if costs[:2] != ["area_mm2", "relative_area"] else costs[:1]
    if not costs:
        raise NothingToDrawError("fewer than three designs have an energy or an area")
    every = list(dict.fromkeys(designs["asked"]))
    shown = chosen(every, MOST_ASKED)
    hue = _hue(designs, parts)
    known = designs.groupby("asked")[costs].count()
    places = [
        (cost, asked)
        for cost in costs
        for asked in shown
        if known.loc[asked, cost] >= FEWEST_DESIGNS
    ]
    if not places:
        raise NothingToDrawError("fewer than three designs of one rounding have an energy or area")
    canvas, all_axes = panels(width, len(places), height=3.2, least=2.9, share=False)
    said = []
    values = [""] if hue is None else list(dict.fromkeys(designs[hue]))
    for (cost, asked), axes in zip(places, all_axes, strict=True):
        rows = designs[(designs["asked"] == asked) & designs[cost].notna()]
        time = "seconds" if rows["seconds"].notna().all() else "cycles"
        front = _draw(axes, rows, time, cost, hue, values)
        axes.set(title=asked or None, xlabel=_WORDS[time], ylabel=_WORDS[cost])
        named = " and ".join(dict.fromkeys((front[0], front[-1]))) if front else "none"
        said.append(f"{_WORDS[cost].partition(',')[0]}{f', {asked}' if asked else ''}: {named}")
    legend(canvas)
    labels = f" Labels on the front give {', '.join(parts)}." if parts else ""
    missing = int(designs[costs[0]].isna().sum())
    left = left_out("the rounding", shown, every)
    if missing:
        left += (
            f" {missing} of {len(designs)} designs have no {_WORDS[costs[0]].partition(',')[0]}."
        )
    return Figure(
        "pareto",
        f"{_WORDS[costs[0]].partition(',')[0].capitalize()} against time",
        f"A scatter plot of {len(designs)} designs in {len(all_axes)} panels. The fastest and the "
        f"cheapest on the front are, for {'; '.join(said)}.",
        "Each point is an accelerator with a way of unpacking, on all GEMMs together. The line is "
        "the Pareto front: no other design is both faster and cheaper than those on it. Designs of "
        f"which a product was wrong are left out.{labels}{left}",
        canvas,
    )


def _hue(designs: DataFrame, parts: Sequence[str]) -> str | None:
    """Return the part of the names that colours tell apart: the one with the most values."""
    counts = {part: designs[part].nunique() for part in parts}
    fitting = [part for part in parts if 1 < counts[part] <= len(MARKERS)]
    return max(fitting, key=lambda part: counts[part], default=None)


def _draw(
    axes: Any, rows: DataFrame, time: str, cost: str, hue: str | None, values: Sequence[str]
) -> list[str]:
    """Draw the points and the front, name what is on it, and return those names."""
    from accelsim.report.figures.figure import PALETTE

    axes.set(xscale="log", yscale="log")
    for index, value in enumerate(values):
        of = rows if hue is None else rows[rows[hue] == value]
        if not len(of):
            continue
        axes.plot(
            of[time], of[cost], MARKERS[index % len(MARKERS)], markersize=5, alpha=0.85,
            color=PALETTE[index % len(PALETTE)], label=f"{hue} {value}" if hue else "design",
        )  # fmt: skip
    for axis, name in ((axes.xaxis, time), (axes.yaxis, cost)):
        prefixed(axis, _UNITS.get(name, ""))
        spread(axis, rows[name].tolist(), LEAST_SPAN)
        if name == "area_mm2":  # a prefix would be read as that of the unit
            axis.set_major_formatter("{x:g}")
    front = front_of(list(zip(rows[time], rows[cost], rows.index, strict=True)))
    ink = axes.xaxis.label.get_color()
    axes.step(
        [x for x, _, _ in front], [y for _, y, _ in front], where="post", color=ink,
        linewidth=1, linestyle="--", zorder=0,
    )  # fmt: skip
    low, high = axes.get_xlim()
    for x, y, place in chosen(front, MOST_NAMES):
        left = x * x > low * high  # in the right half, where a name could leave the figure
        axes.annotate(
            rows.loc[place, "label"], (x, y), (-4 if left else 4, 4), textcoords="offset points",
            ha="right" if left else "left", fontsize="x-small", color=ink,
        ).set_in_layout(False)  # fmt: skip
    return [rows.loc[place, "label"] for _, _, place in front]


def front_of(points: Sequence[tuple[float, float, T]]) -> list[tuple[float, float, T]]:
    """Return the points of the Pareto front.

    Parameters
    ----------
    points : sequence of tuple
        Each with two costs and what it stands for.
    """
    front: list[tuple[float, float, T]] = []
    for point in sorted(points, key=lambda point: point[:2]):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front
