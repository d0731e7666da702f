"""How many entries do not fit b bits, for each kind of GEMM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.report.cells import text
from accelsim.report.figures.figure import Figure, colours
from accelsim.report.figures.frame import need

if TYPE_CHECKING:
    from pandas import DataFrame

_SHARES = ["out_of_bound_a", "out_of_bound_b"]


def _and_settings(rows: DataFrame) -> str:
    """Say what else one bar averages over."""
    betas = [text(beta) for beta in dict.fromkeys(rows["beta"])]
    return f" and over β = {', '.join(betas)}" if len(betas) > 1 else ""


def heavy_hitters(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw the share of out-of-bound entries of A and of B, per op and phase."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import FuncFormatter

    rows = need(data, *_SHARES).drop_duplicates(["gemm", "beta", "bits", "digits"])
    rows = rows.assign(kind=(rows["op"] + " " + rows["phase"].str.replace("_", " ")))
    rows = rows.sort_values(["bits_a", "bits_b"], kind="stable")
    long = rows.melt(["kind", "bits"], _SHARES, var_name="operand", value_name="share")
    long["operand"] = "operand " + long["operand"].str[-1].str.upper()
    long["share"] = 100 * long["share"].astype(float)
    kinds = list(dict.fromkeys(long["kind"]))
    grid = sns.catplot(
        long, kind="bar", x="bits", y="share", hue="kind", col="operand", palette=colours(kinds),
        estimator="mean", errorbar=None, height=3.4, aspect=1.1, linewidth=0,
    )  # fmt: skip
    grid.set_axis_labels("b, bits of the multiplier", "heavy hitters, %")
    grid.set_titles("{col_name}")
    for axes in grid.axes.flat:
        axes.set_yscale("symlog", linthresh=0.01)
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(False, axis="x")
    if grid.legend is not None:
        sns.move_legend(
            grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=min(3, len(kinds)), title=None
        )
    plt.close(grid.figure)
    means = long.groupby("kind")["share"].mean()
    return Figure(
        "heavy-hitters",
        "Heavy hitters by kind of GEMM",
        f"Bars for {len(kinds)} kinds of GEMM, for operands A and B. Over all widths "
        f"{means.idxmax()} has the largest share of heavy hitters, {means.max():.2g}% of its "
        f"entries, {means.idxmin()} the smallest, {means.min():.2g}%.",
        f"The share of entries that do not fit one digit of b bits, averaged over the GEMMs of a "
        f"kind{_and_settings(rows)}. linear is a linear layer, qk the product of queries "
        "and keys, pv that of attention probabilities and values; below 0.01% the axis is linear.",
        grid.figure,
    )
