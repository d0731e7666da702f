"""Area x time of modelled accelerators against the width of the multiplier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.report.figures.figure import Figure, NothingToDrawError, colours, plain_ticks
from accelsim.report.figures.frame import need

if TYPE_CHECKING:
    from pandas import DataFrame

_DESIGN = ["beta", "backend", "strategy", "digits", "bits_a"]


def design_space(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw the sum over all GEMMs for every design that is exact on all, and mark the least."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = need(data, "area_time")
    rows = rows[rows["bits_a"] == rows["bits_b"]]
    sums = rows.groupby(_DESIGN, sort=False, as_index=False).agg(
        area_time=("area_time", "sum"), exact=("exact", "all"), gemms=("gemm", "count")
    )
    sums = sums[sums["exact"] & (sums["gemms"] == rows["gemm"].nunique())]
    widths = sorted(sums["bits_a"].unique())
    if len(widths) < 2:
        raise NothingToDrawError("fewer than two widths b have designs that are exact throughout")
    several = sums["strategy"].nunique() > 1
    sums["design"] = sums["backend"] + (", " + sums["strategy"] if several else "")
    sums["least"] = sums.groupby("beta")["area_time"].transform("min")
    sums["relative"] = sums["area_time"] / sums["least"]
    grid = sns.relplot(
        sums, x="bits_a", y="relative", hue="design", style="design", col="beta", kind="line",
        markers=True, dashes=False, palette=colours(sums["design"]), height=3.6,
        facet_kws={"sharey": True},
    )  # fmt: skip
    grid.set(yscale="log", xticks=widths, ylim=(0.7, None))
    grid.set_axis_labels("b, bits of the multiplier", "area × time over the least")
    grid.set_titles("β {col_name}")
    best = sums[sums["relative"] == 1]
    for name, axes in grid.axes_dict.items():
        least = best[best["beta"] == name].iloc[0]
        axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle=":")
        plain_ticks(axes.yaxis, base=2)
        axes.annotate(
            f"b = {least['bits_a']}", (least["bits_a"], 1), (0, -16),
            textcoords="offset points", ha="center",
        )  # fmt: skip
    plt.close(grid.figure)
    said = [f"at β {r.beta} b = {r.bits_a} with {r.design}" for r in best.itertuples()]
    return Figure(
        "design-space",
        "Area × time against width",
        f"A line for each of {sums['design'].nunique()} designs over {len(widths)} widths. The "
        f"least area × time is {', and '.join(said)}.",
        "Relative area of the array times its cycles, shift-adds included, summed over all GEMMs, "
        "over the least of the designs for the same β. Only designs that are exact on every GEMM "
        "are drawn. Narrow multipliers are small but need more multiplications; narrow "
        "accumulators are small but K must be cut for them, and every cut costs shift-adds.",
        grid.figure,
    )
