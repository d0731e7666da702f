"""The roofline of each backend, as measured, with the GEMM stages of its records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from accelsim.report.cells import text
from accelsim.report.described import Described
from accelsim.report.figures.choosing import MOST_POINTS, chosen, left_out, sample
from accelsim.report.figures.figure import PALETTE, Figure
from accelsim.report.figures.frame import need, timed
from accelsim.report.figures.sheet import MARKERS, legend, panels, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MOST_PANELS = 6


def roofline(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw the rate of low-bit operations against operations per byte, and both roofs.

    S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", Commun. ACM 52 (2009).
    """
    rows = timed(data, "low_bit_macs", "gemm_bytes", "ms.gemm")
    rows = rows[(rows["gemm_bytes"] > 0) & (rows["ms.gemm"] > 0)]
    rows = rows.assign(
        intensity=2 * rows["low_bit_macs"] / rows["gemm_bytes"],
        gops=2 * rows["low_bit_macs"] / (rows["ms.gemm"] * 1e6),
    )
    every = list(dict.fromkeys(need(rows, "intensity", "gops")["backend"]))
    backends = chosen(every, MOST_PANELS)
    rows, sampled = sample(rows[rows["backend"].isin(backends)], MOST_POINTS)
    groups = [group for _, group in rows.groupby(["bits", "op"], sort=False)]
    canvas, all_axes = panels(width, len(backends), height=3.0)
    roofs = _roofs(runs)
    ridges = [roof["gops"] / roof["gb_s"] for name in backends for roof in roofs.get(name, ())]
    reach = [rows["intensity"].min(), rows["intensity"].max(), *ridges]
    span = min(reach) / 1.5, max(reach) * 1.5
    widths, ops = (list(dict.fromkeys(rows[name])) for name in ("bits", "op"))
    for backend, axes in zip(backends, all_axes, strict=True):
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        for group in groups:
            of = group[group["backend"] == backend]
            bits, op = group["bits"].iloc[0], group["op"].iloc[0]
            axes.plot(
                of["intensity"], of["gops"], MARKERS[ops.index(op) % len(MARKERS)],
                color=PALETTE[widths.index(bits) % len(PALETTE)], markersize=4, alpha=0.7,
                markeredgewidth=0, label=f"b {bits}, {op}",
            )  # fmt: skip
        _draw_roofs(axes, roofs.get(backend, ()), span)
        axes.set(title=backend, xlabel="operations per byte")
    all_axes[0].set_ylabel("10⁹ operations/s")
    legend(canvas)
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
        "of starting many small products; points above the slope had their operands in a cache. "
        f"Models in software are not shown.{left_out('the backend', backends, every)}{sampled}",
        canvas,
    )


class _Roof(TypedDict):
    """What was measured of a backend: its rate, its memory's, and the width of the digits."""

    gops: float
    gb_s: float
    bits: str


def _roofs(runs: Sequence[Described]) -> dict[str, list[_Roof]]:
    """Return the roofs under the backends' names in the figure; widths with equal roofs share."""
    found: dict[str, dict[str, _Roof]] = {}
    for run in runs:
        measured: Mapping[str, Any] = next(
            (s["roofs"] for s in reversed(run.run.sessions) if "roofs" in s), {}
        )
        if not measured:
            continue
        by_options = {
            (record.backend, json.dumps(record.backend_options, sort_keys=True)): run.backend(
                record
            )
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
