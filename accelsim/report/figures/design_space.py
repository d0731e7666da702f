"""Area x time of modelled accelerators against the width of the multiplier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.described import Described
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import need
from accelsim.report.figures.sheet import legend, panels, plain_ticks, trace

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_PANELS = 4
MOST_DESIGNS = 8

_DESIGN = ["beta", "backend", "strategy", "digits", "bits_a"]


def design_space(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw the sum over all GEMMs for every design that is exact on all, and mark the least."""
    rows = need(data, "area_time")
    rows = rows[rows["bits_a"] == rows["bits_b"]]
    sums = rows.groupby(_DESIGN, sort=False, as_index=False).agg(
        area_time=("area_time", "sum"), sound=("sound", "all"), gemms=("gemm", "count")
    )
    sums = sums[sums["sound"] & (sums["gemms"] == rows["gemm"].nunique())]
    widths = sorted(sums["bits_a"].unique())
    if len(widths) < 2:
        raise NothingToDrawError("fewer than two widths b have designs that are exact throughout")
    several = sums["strategy"].nunique() > 1
    sums["design"] = sums["backend"] + (", " + sums["strategy"] if several else "")
    sums["least"] = sums.groupby("beta")["area_time"].transform("min")
    sums["relative"] = sums["area_time"] / sums["least"]
    best_first = sums.groupby("design")["relative"].min().sort_values(kind="stable")
    shown_designs = list(best_first.index[:MOST_DESIGNS])
    betas = list(dict.fromkeys(sums["beta"]))
    shown = chosen(betas, MOST_PANELS)
    canvas, all_axes = panels(width, len(shown), height=3.0)
    said = []
    for beta, axes in zip(shown, all_axes, strict=True):
        plain_ticks(axes.yaxis, base=2)
        of_beta = sums[sums["beta"] == beta].sort_values("bits_a", kind="stable")
        for index, design in enumerate(shown_designs):
            of = of_beta[of_beta["design"] == design]
            trace(axes, of["bits_a"].tolist(), of["relative"].tolist(), index, design)
        ink = axes.xaxis.label.get_color()
        axes.axhline(1, color=ink, linewidth=1, linestyle=":")
        axes.set(title=f"β {beta}", xlabel="b, bits of the multiplier", xticks=widths)
        axes.set_ylim(bottom=0.6)
        least = of_beta[of_beta["relative"] == 1].iloc[0]
        axes.annotate(
            f"b = {least['bits_a']}", (least["bits_a"], 1), (0, -6), textcoords="offset points",
            ha="center", va="top", fontweight="bold",
        )  # fmt: skip
        said.append(f"at β {beta} b = {least['bits_a']} with {least['design']}")
    all_axes[0].set_ylabel("area × time over the least")
    legend(canvas)
    left = left_out("β", shown, betas)
    if len(best_first) > MOST_DESIGNS:
        left += f" Of {len(best_first)} designs the {MOST_DESIGNS} with the least area × time."
    return Figure(
        "design-space",
        "Area × time against width",
        f"Marks for each of {len(shown_designs)} designs over {len(widths)} widths. The "
        f"least area × time is {', and '.join(said)}.",
        "Relative area of the whole accelerator times its cycles, shift-adds and stalls included, "
        "summed over all GEMMs, over the least of the designs for the same β. Only designs that "
        "are exact on every GEMM are drawn. Narrow multipliers are small but need more "
        "multiplications; narrow accumulators are small but K must be cut for them, and every cut "
        f"costs shift-adds. Points are joined where there are three or more.{left}",
        canvas,
    )
