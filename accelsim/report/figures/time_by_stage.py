"""Where the time goes: stacked bars of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.measure.statistics import median_interval, sum_interval
from accelsim.records.fields import STAGES, TOTAL
from accelsim.report.described import Described
from accelsim.report.figures.choosing import thin
from accelsim.report.figures.figure import Figure
from accelsim.report.figures.frame import timed
from accelsim.report.figures.sheet import stacked_bars

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_BARS = 24

_NAMED = {"beta": "β {}", "bits": "b {}", "strategy": "{}", "digits": "{}", "backend": "{}"}
"""The fields that identify a bar, and their form in its name."""


def time_by_stage(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw the median times of the stages, summed over the GEMMs, for each setting and backend."""
    rows = timed(data, "ms.total")
    fields = [field for field in _NAMED if rows[field].nunique() > 1] or ["backend"]
    rows, left = thin(rows, fields, MOST_BARS)
    stages = [str(stage) for stage in STAGES if stage != TOTAL and f"ms.{stage}" in rows]
    bars: dict[str, dict[str, float]] = {}
    ends: dict[str, tuple[float, float]] = {}
    totals: dict[str, float] = {}
    for values, group in rows.groupby(fields, sort=False):
        named = zip(fields, values, strict=True)
        name = ", ".join(_NAMED[field].format(value) for field, value in named)
        bars[name] = {stage: group[f"ms.{stage}"].sum() / 1e3 for stage in stages}
        totals[name] = group["ms.total"].sum() / 1e3
        if all(isinstance(samples, list) and samples for samples in group["samples"]):
            interval = sum_interval([median_interval(samples) for samples in group["samples"]])
            ends[name] = (interval.low / 1e3, interval.high / 1e3)
    canvas = stacked_bars(width, bars, stages, "time of all GEMMs", "s", ends)
    slowest, fastest = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    return Figure(
        "time-by-stage",
        "Time by stage",
        f"Stacked bars of {len(bars)} settings and backends. The longest total is "
        f"{1e3 * totals[slowest]:.3g} ms ({slowest}), the shortest {1e3 * totals[fastest]:.3g} ms "
        f"({fastest}). "
        f"{_largest(bars)}",
        f"{_largest(bars)} The median times of each stage are summed over the GEMMs: rounding to "
        "integers (quantize), writing them in b-bit digits (unpack), bringing those into the "
        "backend's layout (prepare), the low-bit products (gemm), the exact sum of shifted "
        "products (pack), and the division by the scales (dequantize). What was prepared ahead of "
        "time is in no stage. The thin line at the end of a bar is the 95% interval of the total, "
        f"which is timed on its own. Models in software are not shown.{left}",
        canvas,
    )


def _largest(bars: dict[str, dict[str, float]]) -> str:
    """Return which stage takes the most time."""
    sums: dict[str, float] = {}
    for sizes in bars.values():
        for stage, value in sizes.items():
            sums[stage] = sums.get(stage, 0.0) + value
    stage = max(sums, key=sums.__getitem__)
    shares = [sizes[stage] / total for sizes in bars.values() if (total := sum(sizes.values()))]
    if not shares:
        return ""
    low, high = min(shares), max(shares)
    found = f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"
    return f"The stage {stage} takes the most: {found} of the time."
