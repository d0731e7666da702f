"""A figure with its texts, and functions that draw and save it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import AccelsimError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

INK = "#3d4451"
"""The colour of text and axes; in a page it becomes that of the page's text."""

PALETTE = ("#2f7fd6", "#d9662b", "#1f9e89", "#b25ac4", "#8f8415", "#d1477f", "#6b7bd6", "#7a8794")
"""Colours with a contrast of at least 3:1 to white and to the page's dark background."""

_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""Without a date the same records give the same file."""

_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "accelsim",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class NothingToDrawError(Exception):
    """The records do not have what a figure shows; the message says what is missing."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Parameters
    ----------
    name : str
        The stem of its files.
    title : str
        A few words.
    alt : str
        A description for readers who cannot see it.
    caption : str
        How to read it: what the axes and marks mean.
    canvas : matplotlib.figure.Figure
        The figure itself.
    narrow : matplotlib.figure.Figure, optional
        The same for a narrow screen.
    """

    name: str
    title: str
    alt: str
    caption: str
    canvas: Canvas
    narrow: Canvas | None = None

    def svg(self, narrow: bool = False) -> str:
        """Return an ``<svg>`` element for a page, in the colour of the page's text."""
        canvas = self.narrow if narrow and self.narrow is not None else self.canvas
        name = f"{self.name}-narrow" if narrow else self.name
        stream = io.StringIO()
        with style():  # without the date the same records give the same page
            canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        text = stream.getvalue()
        text = text[text.index("<svg") :].replace(INK, "currentColor")
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", text)
        text = re.sub(
            r' width="([^"]*)pt" height="[^"]*pt"', r' style="max-width: \1pt"', text, count=1
        )
        return re.sub(r" *\n *", "\n", text)

    def save(self, folder: Path) -> list[Path]:
        """Write the figure as PDF and PNG, on white, and return the files' names.

        Raises
        ------
        AccelsimError
            If they cannot be written.
        """
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("pdf", "png")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AccelsimError(f"cannot write to {folder}: {error.strerror}") from error
        for path in paths:
            self.write(path)
        return paths

    def write(self, path: Path) -> None:
        """Write the figure on white, as its suffix says.

        Raises
        ------
        AccelsimError
            If it cannot be written.
        """
        try:
            with style():
                self.canvas.savefig(
                    path, dpi=300, facecolor="white", metadata=_UNDATED.get(path.suffix)
                )
        except OSError as error:
            raise AccelsimError(f"cannot write to {path.parent}: {error.strerror}") from error


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the reports, without a display."""
    import matplotlib
    import seaborn as sns

    settings = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_STYLE}
    with matplotlib.rc_context({"backend": "agg", **settings}):
        yield


def colours(names: Any) -> dict[Any, str]:
    """Assign a colour to each name, the most distinct ones first."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(dict.fromkeys(names))}
