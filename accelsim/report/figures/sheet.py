"""Common parts of figures: panels that fit a width, legends that wrap, and kinds of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelsim.report.figures.figure import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

WIDE = 8.0
"""Inches of a figure in a paper and on a wide screen."""

NARROW = 3.5
"""Inches of a figure on a narrow screen."""

MARKERS = "osD^vPX*"

FEWEST_OF_A_LINE = 3
"""Smallest number of points of a line: two would suggest a trend without evidence."""

_CHARACTERS_AN_INCH = 13
_LEGEND_LINE = 0.19
"""Inches that a line of a legend adds to the height."""

_LONGEST_BESIDE = 34
"""Characters of a name that stands beside its bar at most."""

_BESIDE = 4.5
"""From this width in inches on there is room for names beside the bars."""


def panels(
    width: float, count: int, height: float = 2.7, least: float = 2.4, share: bool = True
) -> tuple[Canvas, list[Axes]]:
    """Return a canvas with a number of axes, as many side by side as fit.

    Parameters
    ----------
    width : float
        Of the canvas in inches; a single panel takes less of a wide one.
    count : int
        Axes.
    height, least : float
        The height of one, and its least width, in inches.
    share : bool
        Whether they share y.
    """
    from matplotlib.figure import Figure as Canvas

    columns = max(1, min(count, int(width / least)))
    rows = -(-count // columns)
    across = min(width, max(NARROW, 3.0 * columns + 0.8, 5.5 if count == 1 else 0))
    canvas = Canvas(figsize=(across, rows * height + 0.4), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False, sharey=share).flat
    axes = list(grid)
    for unused in axes[count:]:
        unused.remove()
    return canvas, axes[:count]


def legend(canvas: Canvas) -> None:
    """Put one legend for all panels above them, in as many columns as fit."""
    named: dict[str, Any] = {}
    for axes in canvas.axes:
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    if len(named) < 2:
        return
    longest = max(map(len, named)) + 7
    columns = max(1, int(canvas.get_figwidth() * _CHARACTERS_AN_INCH / longest))
    canvas.set_figheight(canvas.get_figheight() + _LEGEND_LINE * -(-len(named) // columns))
    canvas.legend(
        list(named.values()), list(named), loc="outside upper left",
        ncols=min(columns, len(named)),
    )  # fmt: skip


def trace(axes: Axes, x: Sequence[Any], y: Sequence[Any], index: int, label: str) -> None:
    """Draw points in the colour and with the mark of `index`; a line joins three or more."""
    line = "-" if len(x) >= FEWEST_OF_A_LINE else "none"
    marker = MARKERS[index % len(MARKERS)]
    axes.plot(
        x, y, color=PALETTE[index % len(PALETTE)], marker=marker if len(x) <= 40 else None,
        linestyle=line, markersize=5, linewidth=1.4, label=label,
    )  # fmt: skip


def stacked_bars(
    width: float,
    bars: Mapping[str, Mapping[str, float]],
    parts: Sequence[str],
    axis: str,
    unit: str,
    ends: Mapping[str, tuple[float, float]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Canvas:
    """Draw a horizontal bar for each name, made of its parts.

    Parameters
    ----------
    width : float
        Of the canvas in inches; on a narrow one the names stand above the bars.
    bars : mapping
        Each name with the sizes of its parts.
    parts : sequence of str
        All parts, in their order.
    axis, unit : str
        What the sizes are, and their unit, which gets a decimal prefix.
    ends : mapping, optional
        Intervals of whole bars.
    notes : mapping, optional
        Words at the end of bars.
    """
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    beside = width >= _BESIDE and max(map(len, bars)) <= _LONGEST_BESIDE
    each = 0.27 if beside else 0.42
    canvas = Canvas(figsize=(width, 1.0 + each * len(bars)), layout="constrained")
    axes = canvas.subplots()
    names, places = list(bars), list(range(len(bars)))
    start = [0.0] * len(bars)
    for index, part in enumerate(parts):
        sizes = [bars[name].get(part, 0.0) for name in names]
        if any(sizes):
            axes.barh(
                places, sizes, left=start, height=0.7 if beside else 0.45, label=part,
                color=PALETTE[index % len(PALETTE)], linewidth=0,
            )  # fmt: skip
            start = [a + b for a, b in zip(start, sizes, strict=True)]
    ink = axes.xaxis.label.get_color()
    for place, name in enumerate(names):
        if ends and name in ends:
            low, high = ends[name]
            axes.plot([low, high], [place, place], color=ink, linewidth=1.4, marker="|")
        if notes and name in notes:
            axes.text(start[place], place, f" {notes[name]}", va="center", fontsize="small")
        if not beside:
            axes.text(0, place - 0.26, name, va="bottom", ha="left", fontsize="small")
    axes.set(xlabel=axis, ylim=(len(bars) - 0.5, -0.5 if beside else -0.8))
    prefixed(axes.xaxis, unit)
    axes.xaxis.set_major_locator(MaxNLocator(6 if beside else 4))
    axes.set_yticks(places if beside else [], names if beside else [])
    axes.grid(False, axis="y")
    legend(canvas)
    return canvas


def prefixed(axis: Axis, unit: str) -> None:
    """Write the numbers of an axis with decimal prefixes, such as 3 ms."""
    from matplotlib.ticker import EngFormatter, NullLocator

    axis.set_major_formatter(EngFormatter(unit))
    axis.set_minor_locator(NullLocator())


def spread(axis: Axis, values: Sequence[float], least: float) -> None:
    """Show at least a factor of `least` on a logarithmic axis, so that equal values look equal."""
    from math import sqrt

    from matplotlib.ticker import LogLocator

    low, high = min(values), max(values)
    middle = sqrt(low * high)
    low, high = min(low / 1.15, middle / sqrt(least)), max(high * 1.15, middle * sqrt(least))
    (axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim)(low, high)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))


def plain_ticks(axis: Axis, base: float = 10) -> None:
    """Make an axis logarithmic, with numbers as they are read: 0.01, 2, 100."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    class Readable(LogLocator):
        """Powers of ten alone may leave an axis of less than a decade with a single number."""

        def tick_values(self, vmin: float, vmax: float) -> Any:
            self.set_params(subs=(1, 2, 5) if vmax < 100 * vmin else (1,))
            return super().tick_values(vmin, vmax)

    scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    scale("log", base=base)
    if base == 10:
        axis.set_major_locator(Readable())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
