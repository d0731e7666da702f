"""Whether it pays: speed-up over a float GEMM against the unpack ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.described import Described
from accelsim.report.figures.choosing import MOST_POINTS, chosen, left_out, sample
from accelsim.report.figures.figure import Figure, NothingToDrawError, colours
from accelsim.report.figures.frame import timed
from accelsim.report.figures.sheet import MARKERS, legend, panels, plain_ticks

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_PANELS = 4
MOST_BACKENDS = 8

MOST_INTERVALS = 150
"""Points of a panel that are drawn with their intervals; more would hide each other."""


def speedup_by_ratio(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw every record's speed-up over each baseline against r, and the break-even line."""
    rows = timed(data, "ratio", "ms.total")
    names = [str(name)[8:] for name in rows if str(name).startswith("speedup.")]
    names = [name for name in names if rows[f"speedup.{name}"].notna().any()]
    if not names:
        raise NothingToDrawError("no record has a speed-up that is a result")
    shown = chosen(names, MOST_PANELS)
    every = list(dict.fromkeys(rows["backend"]))
    backends = chosen(every, MOST_BACKENDS)
    rows = rows[rows["backend"].isin(backends)]
    rows, sampled = sample(rows, MOST_POINTS)
    canvas, all_axes = panels(width, len(shown), height=3.0)
    said = []
    for name, axes in zip(shown, all_axes, strict=True):
        found = rows.dropna(subset=[f"speedup.{name}"])
        plain_ticks(axes.xaxis, base=2)
        plain_ticks(axes.yaxis)
        for index, (backend, colour) in enumerate(colours(backends).items()):
            of = found[found["backend"] == backend]
            x, y = of["ratio"], of[f"speedup.{name}"]
            style = {"color": colour, "markersize": 4, "alpha": 0.75, "label": backend}
            mark = MARKERS[index % len(MARKERS)]
            if len(found) <= MOST_INTERVALS:
                below, above = y - of[f"speedup_low.{name}"], of[f"speedup_high.{name}"] - y
                axes.errorbar(x, y, [below, above], fmt=mark, elinewidth=0.8, **style)
            else:
                axes.plot(x, y, mark, markeredgewidth=0, **style)
        axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=1, linestyle="--")
        axes.set(title=f"over {name}", xlabel="unpack ratio r")
        won = int((found[f"speedup.{name}"] > 1).sum())
        best = found[f"speedup.{name}"].max()
        said.append(f"over {name} the best is {best:.3g}, and {won} records are faster")
    all_axes[0].set_ylabel("speed-up")
    legend(canvas)
    drawn = sum(int(rows[f"speedup.{name}"].notna().sum()) for name in shown)
    no_result = len(rows) * len(shown) - drawn
    left = left_out("the baseline", shown, names) + left_out("the backend", backends, every)
    left += sampled
    if no_result:
        left += f" {no_result} ratios were too uncertain or not measured, and are not shown."
    return Figure(
        "speedup-by-ratio",
        "Speed-up against unpack ratio",
        f"A scatter plot of {drawn} speed-ups, one panel for each of {', '.join(shown)}: "
        f"{'; '.join(said)}.",
        "Each point is a record: the time of the float GEMM over the total time of the exact "
        "integer one, all stages included, with its 95% interval where there are at most "
        f"{MOST_INTERVALS} points. Above the dashed break-even line the exact product is the "
        "faster one. Larger r is more work for the same GEMM. Models in software are not "
        f"shown.{left}",
        canvas,
    )
