"""Whether it pays: speed-up over a float GEMM against the unpack ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.report.figures.figure import MOST_VECTORS, Figure, colours, plain_ticks
from accelsim.report.figures.frame import need

if TYPE_CHECKING:
    from pandas import DataFrame


def speedup_by_ratio(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw every record's speed-up over each baseline against r, and the break-even line."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = need(data, "ratio")
    columns = [name for name in rows if str(name).startswith("speedup.")]
    long = rows.melt(
        ["ratio", "backend", "bits"], columns, var_name="baseline", value_name="speedup"
    )
    long = need(long, "speedup")
    long["baseline"] = long["baseline"].str.removeprefix("speedup.")
    baselines = list(dict.fromkeys(long["baseline"]))
    backends = list(dict.fromkeys(long["backend"]))
    grid = sns.relplot(
        long, x="ratio", y="speedup", hue="backend", style="backend", col="baseline",
        palette=colours(backends), height=3.8, aspect=1.1, s=30, linewidth=0, alpha=0.7,
        rasterized=len(long) > MOST_VECTORS, facet_kws={"sharey": True},
    )  # fmt: skip
    grid.set_axis_labels("unpack ratio r", "speed-up")
    grid.set_titles("over {col_name}")
    for axes in grid.axes.flat:
        plain_ticks(axes.xaxis, base=2)
        plain_ticks(axes.yaxis)
        axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle="--")
        axes.annotate(
            "break-even", (0.99, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            xytext=(0, 2), textcoords="offset points", fontsize=9,
        )  # fmt: skip
    if grid.legend is not None:
        sns.move_legend(
            grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=min(3, len(backends)), title=None
        )
    plt.close(grid.figure)
    best = long.groupby("baseline", sort=False)["speedup"].agg(["max", lambda x: (x > 1).sum()])
    said = "; ".join(
        f"over {name} the best is {largest:.3g}, and {int(won)} records are faster"
        for name, (largest, won) in zip(best.index, best.to_numpy().tolist(), strict=True)
    )
    return Figure(
        "speedup-by-ratio",
        "Speed-up against unpack ratio",
        f"A scatter plot of {len(long)} speed-ups, one panel for each of {', '.join(baselines)}: "
        f"{said}.",
        "Each point is a record: the time of the float GEMM over the total time of the exact "
        "integer one, all stages included. Above the dashed break-even line the exact product is "
        "the faster one. Larger r is more work for the same GEMM.",
        grid.figure,
    )
