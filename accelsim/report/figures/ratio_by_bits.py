"""The unpack ratio against the width of the multiplier, for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.figures.figure import Figure, NothingToDrawError, colours, plain_ticks
from accelsim.report.figures.frame import need
from accelsim.results import Run

if TYPE_CHECKING:
    from pandas import DataFrame

_SETTING = ["gemm", "beta", "bits", "strategy", "digits"]


def ratio_by_bits(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw r against b: the median over the GEMMs, and the band from the lowest to the highest."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = need(data, "ratio")
    rows = rows[rows["bits_a"] == rows["bits_b"]].drop_duplicates(_SETTING)
    widths = sorted(rows["bits_a"].unique())
    if len(widths) < 2:
        raise NothingToDrawError("the records have fewer than two widths b")
    strategies = list(dict.fromkeys(rows["strategy"]))
    canvas, axes = plt.subplots(figsize=(7, 4))
    sns.lineplot(
        rows, x="bits_a", y="ratio", hue="strategy", style="strategy", markers=True, dashes=False,
        estimator="median", errorbar=("pi", 100), err_kws={"alpha": 0.12, "linewidth": 0},
        palette=colours(strategies), ax=axes,
    )  # fmt: skip
    axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle=":")
    plain_ticks(axes.yaxis, base=2)
    axes.set_xticks(widths)
    axes.set(xlabel="b, bits of the multiplier", ylabel="unpack ratio r")
    axes.legend(title="strategy")
    plt.close(canvas)
    medians = rows.groupby(["bits_a", "strategy"])["ratio"].median()
    said = [
        f"at {bits} bits from {medians[bits].min():.3g} ({medians[bits].idxmin()}) to "
        f"{medians[bits].max():.3g} ({medians[bits].idxmax()})"
        for bits in (widths[0], widths[-1])
    ]
    return Figure(
        "ratio-by-bits",
        "Unpack ratio against width",
        f"Lines for {len(strategies)} strategies over {len(widths)} widths. The median unpack "
        f"ratio ranges {' and '.join(said)}.",
        "r is the number of low-bit multiplications over that of the original GEMM: 1 (dotted) is "
        "no overhead. Lines are medians over the GEMMs, bands reach from the lowest to the "
        "highest. The fewer bits, the more entries are heavy hitters, which need further digits.",
        canvas,
    )
