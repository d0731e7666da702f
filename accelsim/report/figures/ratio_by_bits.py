"""The unpack ratio against the width of the multiplier or against β, for each strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accelsim.report.described import Described
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import need
from accelsim.report.figures.sheet import legend, panels, plain_ticks, trace

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_PANELS = 6
MOST_LINES = 8

_SETTING = ["beta", "strategy", "digits", "bits_a"]
_AXES = {"bits_a": ("b", "b, bits of the multiplier"), "beta_number": ("β", "β")}


def ratio_by_bits(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw r of all GEMMs together against b, a panel for each β; or the other way round.

    What has more values is the axis.
    """
    rows = need(data, "ratio", "low_bit_macs")
    rows = rows[rows["bits_a"] == rows["bits_b"]].drop_duplicates(["gemm", *_SETTING])
    sums = rows.assign(dense=rows["low_bit_macs"] / rows["ratio"])
    sums = sums.groupby([*_SETTING, "beta_number"], sort=False, as_index=False, dropna=False)[
        ["low_bit_macs", "dense"]
    ].sum()
    sums["r"] = sums["low_bit_macs"] / sums["dense"]
    several = sums["digits"].nunique() > 1
    sums["line"] = sums["strategy"] + (", " + sums["digits"] if several else "")
    widths, betas = sorted(sums["bits_a"].unique()), list(dict.fromkeys(sums["beta"]))
    by_beta = len(betas) > len(widths) and sums["beta_number"].notna().all()
    if len(widths) < 2 and not (by_beta and len(betas) > 1):
        raise NothingToDrawError("the records have fewer than two widths b")
    axis, panel = ("beta_number", "bits_a") if by_beta else ("bits_a", "beta")
    every = list(dict.fromkeys(sums.sort_values("bits_a")[panel] if by_beta else betas))
    shown = chosen(every, MOST_PANELS)
    lines = chosen(list(dict.fromkeys(sums["line"])), MOST_LINES)
    canvas, all_axes = panels(width, len(shown))
    short, words = _AXES[axis]
    for value, axes in zip(shown, all_axes, strict=True):
        _panel(axes, sums[sums[panel] == value].sort_values(axis), axis, lines)
        axes.set(title=f"{'b' if by_beta else 'β'} {value}", xlabel=words)
        if not by_beta:
            axes.set_xticks(widths)
    all_axes[0].set_ylabel("unpack ratio r")
    legend(canvas)
    left = left_out("b" if by_beta else "β", shown, every)
    left += left_out("the strategy", lines, list(dict.fromkeys(sums["line"])))
    return Figure(
        "ratio-by-bits",
        "Unpack ratio against β" if by_beta else "Unpack ratio against width",
        f"The ratio of {len(lines)} strategies over {len(betas) if by_beta else len(widths)} "
        f"{'values of β' if by_beta else 'widths'}, one panel for each of {len(shown)} "
        f"{'b' if by_beta else 'β'}. "
        f"The unpack ratio ranges {_ends(sums, axis, short)}.",
        "r is the number of low-bit multiplications of all GEMMs over that of the original ones: "
        "1 (dotted) is no overhead. The fewer bits, or the larger β, the more entries are heavy "
        "hitters, which need further digits. A number after a strategy is the columns of its "
        f"blocks. Points are joined where there are three or more.{left}",
        canvas,
    )


def _panel(axes: Any, rows: DataFrame, axis: str, lines: Sequence[str]) -> None:
    plain_ticks(axes.yaxis, base=2)
    if axis == "beta_number":
        plain_ticks(axes.xaxis, base=2)
    for index, name in enumerate(lines):
        of_line = rows[rows["line"] == name]
        trace(axes, of_line[axis].tolist(), of_line["r"].tolist(), index, name)
    axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle=":")


def _ends(sums: DataFrame, axis: str, short: str) -> str:
    found = []
    for end in (sums[axis].min(), sums[axis].max()):
        at = sums[sums[axis] == end].set_index("line")["r"]
        low, high = f"{at.min():.3g} ({at.idxmin()})", f"{at.max():.3g} ({at.idxmax()})"
        found.append(f"at {short} = {end:g} from {low} to {high}")
    return " and ".join(found)
