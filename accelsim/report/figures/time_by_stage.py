"""Where the time goes: stacked bars of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.records.fields import STAGES, TOTAL
from accelsim.report.figures.figure import Figure, colours
from accelsim.report.figures.frame import need

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_BARS = 32


def time_by_stage(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw the mean over the GEMMs of the median time of each stage, per width and backend."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    timed = need(data, "ms.total")
    timed = timed.assign(bar=timed["backend"] + ", b " + timed["bits"])
    what = "width b and backend"
    if timed["bar"].nunique() > MOST_BARS:
        timed, what = timed.assign(bar=timed["backend"]), "backend"
    timed = timed.sort_values(["bits_a", "bits_b"], kind="stable")
    stages = [stage for stage in STAGES if stage != TOTAL and f"ms.{stage}" in timed]
    means = timed.groupby("bar", sort=False)[[f"ms.{stage}" for stage in stages]].mean()
    long = means.melt(var_name="stage", value_name="ms", ignore_index=False).reset_index()
    long["stage"] = long["stage"].str.removeprefix("ms.")
    long = long[long["ms"] > 0]
    canvas, axes = plt.subplots(figsize=(7.5, 1.1 + 0.3 * len(means)))
    sns.histplot(
        long, y="bar", weights="ms", hue="stage", hue_order=stages[::-1], multiple="stack",
        discrete=True, palette=colours(stages), shrink=0.75, alpha=1, linewidth=0, ax=axes,
    )  # fmt: skip
    axes.grid(False, axis="y")
    axes.set(xlabel="time per GEMM, ms", ylabel="")
    sns.move_legend(
        axes, "lower left", bbox_to_anchor=(0, 1), ncols=len(stages), title=None, reverse=True
    )
    totals = timed.groupby("bar", sort=False)["ms.total"].mean()
    slowest, fastest = totals.idxmax(), totals.idxmin()
    plt.close(canvas)
    return Figure(
        "time-by-stage",
        "Time by stage",
        f"Stacked bars of {len(means)} combinations of {what}. The longest total is "
        f"{totals[slowest]:.3g} ms ({slowest}), the shortest {totals[fastest]:.3g} ms ({fastest}).",
        "The median time of each stage, averaged over all GEMMs and settings of a bar: rounding to "
        "integers (quantize), writing them in b-bit digits (unpack), bringing those into the "
        "backend's layout (prepare), the low-bit products (gemm) and the exact sum of shifted "
        "products (pack), and floats divided by the scales (dequantize). What was prepared ahead "
        "of time is in no stage.",
        canvas,
    )
