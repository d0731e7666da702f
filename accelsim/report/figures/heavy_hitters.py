"""How many entries do not fit b bits, for each kind of GEMM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.described import Described
from accelsim.report.figures.choosing import chosen, left_out, several
from accelsim.report.figures.figure import PALETTE, Figure
from accelsim.report.figures.frame import need
from accelsim.report.figures.sheet import legend, panels

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_WIDTHS = 8

_SHARES = ["out_of_bound_a", "out_of_bound_b"]


def _and_settings(rows: DataFrame) -> str:
    """Return what else one bar averages over."""
    betas = list(dict.fromkeys(rows["beta"]))
    return f" and over β = {several(betas)}" if len(betas) > 1 else ""


def heavy_hitters(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw the share of out-of-bound entries of A and of B, per op and phase."""
    from matplotlib.ticker import FuncFormatter

    rows = need(data, *_SHARES).drop_duplicates(["gemm", "beta", "bits", "digits"])
    rows = rows.assign(kind=(rows["op"] + " " + rows["phase"].str.replace("_", " ")))
    rows = rows.sort_values(["bits_a", "bits_b"], kind="stable")
    every = list(dict.fromkeys(rows["bits"]))
    widths, kinds = chosen(every, MOST_WIDTHS), list(dict.fromkeys(rows["kind"]))
    means = 100 * rows.groupby(["kind", "bits"], sort=False)[_SHARES].mean()
    canvas, all_axes = panels(width, 2, least=2.9)
    each = 0.8 / len(kinds)
    for side, axes in zip(_SHARES, all_axes, strict=True):
        for index, kind in enumerate(kinds):
            places = [place - 0.4 + (index + 0.5) * each for place in range(len(widths))]
            heights = [means[side].get((kind, bits), 0.0) for bits in widths]
            colour = PALETTE[index % len(PALETTE)]
            axes.bar(places, heights, width=each, color=colour, linewidth=0, label=kind)
        axes.set_yscale("symlog", linthresh=0.01)
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xticks(range(len(widths)), widths)
        axes.set(title=f"operand {side[-1].upper()}", xlabel="b, bits of the multiplier")
        axes.grid(False, axis="x")
    all_axes[0].set_ylabel("heavy hitters, %")
    legend(canvas)
    of_kind = means.mean(axis=1).groupby("kind").mean()
    return Figure(
        "heavy-hitters",
        "Heavy hitters by kind of GEMM",
        f"Bars for {len(kinds)} kinds of GEMM, for operands A and B. Over all widths "
        f"{of_kind.idxmax()} has the largest share of heavy hitters, {of_kind.max():.2g}% of its "
        f"entries, {of_kind.idxmin()} the smallest, {of_kind.min():.2g}%.",
        f"The share of entries that do not fit one digit of b bits, averaged over the GEMMs of a "
        f"kind{_and_settings(rows)}. linear is a product with weights, qk the product of queries "
        "and keys, pv that of attention probabilities and values; below 0.01% the axis is "
        f"linear.{left_out('b', widths, every)}",
        canvas,
    )
