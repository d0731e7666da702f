"""The unpack ratio against the width of the multiplier, for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Run
from accelsim.report.figures.figure import Figure, NothingToDrawError, colours, plain_ticks
from accelsim.report.figures.frame import need

if TYPE_CHECKING:
    from pandas import DataFrame

_SETTING = ["beta", "strategy", "digits", "bits_a"]


def ratio_by_bits(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw r of all GEMMs together against b, one panel for each β."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = need(data, "ratio", "low_bit_macs")
    rows = rows[rows["bits_a"] == rows["bits_b"]].drop_duplicates(["gemm", *_SETTING])
    widths = sorted(rows["bits_a"].unique())
    if len(widths) < 2:
        raise NothingToDrawError("the records have fewer than two widths b")
    sums = rows.assign(dense=rows["low_bit_macs"] / rows["ratio"])
    sums = sums.groupby(_SETTING, sort=False, as_index=False)[["low_bit_macs", "dense"]].sum()
    sums["r"] = sums["low_bit_macs"] / sums["dense"]
    sums = sums.rename(columns={"beta": "β"})
    strategies, betas = (list(dict.fromkeys(sums[name])) for name in ("strategy", "β"))
    several = sums["digits"].nunique() > 1
    grid = sns.relplot(
        sums, kind="line", x="bits_a", y="r", hue="strategy", col="β", col_wrap=min(3, len(betas)),
        style="digits" if several else "strategy", markers=True, dashes=several,
        palette=colours(strategies), height=3.8, aspect=1.6 if len(betas) == 1 else 1.1,
    )  # fmt: skip
    grid.set_axis_labels("b, bits of the multiplier", "unpack ratio r")
    for axes in grid.axes.flat:
        axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle=":")
        plain_ticks(axes.yaxis, base=2)
        axes.set_xticks(widths)
    plt.close(grid.figure)
    said = []
    for bits in (widths[0], widths[-1]):
        of_width = sums[sums["bits_a"] == bits].set_index("strategy")["r"]
        said.append(
            f"at {bits} bits from {of_width.min():.3g} ({of_width.idxmin()}) to "
            f"{of_width.max():.3g} ({of_width.idxmax()})"
        )
    return Figure(
        "ratio-by-bits",
        "Unpack ratio against width",
        f"Lines for {len(strategies)} strategies over {len(widths)} widths, one panel for each of "
        f"{len(betas)} β. The unpack ratio ranges {' and '.join(said)}.",
        "r is the number of low-bit multiplications of all GEMMs over that of the original ones: "
        "1 (dotted) is no overhead. The fewer bits, the more entries are heavy hitters, which need "
        "further digits. A number after a strategy is the columns of its blocks.",
        grid.figure,
    )
