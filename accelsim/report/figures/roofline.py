"""The roofline of each backend, as measured, with the GEMM stages of its records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from accelsim.records import Run
from accelsim.report.cells import text
from accelsim.report.figures.figure import MOST_VECTORS, Figure, colours, plain_ticks
from accelsim.report.figures.frame import backend_name, need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_WIDE = 4
"""Panels beside each other."""


def roofline(data: DataFrame, runs: Sequence[Run]) -> Figure:
    """Draw the rate of low-bit operations against operations per byte, and both roofs.

    S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", Commun. ACM 52 (2009).
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows = need(data, "low_bit_macs", "gemm_bytes", "ms.gemm")
    rows = rows[(rows["gemm_bytes"] > 0) & (rows["ms.gemm"] > 0)]
    rows = rows.assign(
        intensity=2 * rows["low_bit_macs"] / rows["gemm_bytes"],
        gops=2 * rows["low_bit_macs"] / (rows["ms.gemm"] * 1e6),
    )
    backends = list(dict.fromkeys(need(rows, "intensity", "gops")["backend"]))
    ops = list(dict.fromkeys(rows["op"]))
    grid = sns.relplot(
        rows, x="intensity", y="gops", hue="op", style="op", hue_order=ops, style_order=ops,
        col="backend", col_order=backends, col_wrap=min(_WIDE, len(backends)),
        palette=colours(ops), height=3.2, aspect=1, s=30, linewidth=0, alpha=0.7,
        rasterized=len(rows) > MOST_VECTORS,
    )  # fmt: skip
    grid.set_axis_labels("operations per byte", "10⁹ operations/s")
    grid.set_titles("{col_name}")
    roofs = _roofs(runs)
    ridges = [roof["gops"] / roof["gb_s"] for name in backends for roof in roofs.get(name, ())]
    reach = [rows["intensity"].min(), rows["intensity"].max(), *ridges]
    span = min(reach) / 1.5, max(reach) * 1.5
    for backend, axes in grid.axes_dict.items():
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        _draw_roofs(axes, roofs.get(backend, ()), span)
    if grid.legend is not None:
        sns.move_legend(grid, "lower center", bbox_to_anchor=(0.5, 1), ncols=len(ops), title=None)
    plt.close(grid.figure)
    best = rows.groupby("backend", sort=False)["gops"].max()
    said = "; ".join(
        f"{name} reaches {value:.3g}{_of_peak(value, roofs.get(name, ()))}"
        for name, value in best.items()
    )
    measured = (
        "The roofs were measured at the end of the run: the slope is the bandwidth of copying "
        "memory, the level the highest rate of square GEMMs of random digits"
        if roofs
        else "The runs have not measured the roofs: timing.roofline: true in a config does"
    )
    return Figure(
        "roofline",
        "Roofline of each backend",
        f"A scatter plot of {len(rows)} GEMM stages in {len(backends)} panels. In 10⁹ operations "
        f"per second: {said}.",
        "Each point is the GEMM stage of a record: its rate of low-bit operations (a multiply-add "
        "is two) against operations per byte of digits read and 32-bit sums written, each once. "
        f"{measured}. Points far below both roofs are bound by something else, such as the cost "
        "of starting many small products; points above the slope had their operands in a cache.",
        grid.figure,
    )


class _Roof(TypedDict):
    """What was measured of a backend: its rate, its memory's, and the width of the digits."""

    gops: float
    gb_s: float
    bits: str


def _roofs(runs: Sequence[Run]) -> dict[str, list[_Roof]]:
    """Return the roofs under the backends' names in the figure; widths with equal roofs share."""
    found: dict[str, dict[str, _Roof]] = {}
    for run, names in backend_name(runs):
        measured: Mapping[str, Any] = next(
            (s["roofs"] for s in reversed(run.sessions) if "roofs" in s), {}
        )
        by_options = {
            (record.backend, json.dumps(record.backend_options, sort_keys=True)): names(record)
            for record in run.records
        }
        for roof in measured.get("compute", ()):
            options = json.dumps(roof["backend_options"], sort_keys=True)
            name = by_options.get((roof["backend"], options))
            if name is not None and roof["tops"]:
                gb_s = measured["bandwidth_gb_s"][roof["device"]]
                found.setdefault(name, {})[options] = {
                    "gops": 1e3 * roof["tops"], "gb_s": gb_s, "bits": text(roof["bits"])
                }  # fmt: skip
    return {name: list(roofs.values()) for name, roofs in found.items()}


def _draw_roofs(axes: Axes, roofs: Sequence[_Roof], span: tuple[float, float]) -> None:
    """Draw the roofs of a backend; where it has several, the highest and the lowest say their b."""
    ink = axes.xaxis.label.get_color()
    left, right = span
    for roof in roofs:
        gops, gb_s = roof["gops"], roof["gb_s"]
        axes.plot([left, gops / gb_s, right], [left * gb_s, gops, gops], color=ink, linewidth=1.2)
    if len(roofs) > 1:
        ordered = sorted(roofs, key=lambda roof: roof["gops"])
        for roof, side in ((ordered[0], "top"), (ordered[-1], "bottom")):
            where = right, roof["gops"] * (0.93 if side == "top" else 1.05)
            axes.text(*where, f"b {roof['bits']}", color=ink, ha="right", va=side, fontsize="small")


def _of_peak(gops: float, roofs: Sequence[_Roof]) -> str:
    peak = max((roof["gops"] for roof in roofs), default=None)
    return f" ({100 * gops / peak:.0f}% of its measured peak)" if peak else ""
