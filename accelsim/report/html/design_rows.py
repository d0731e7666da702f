"""The page's table of modelled accelerators: a line for each, with its hardware figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from accelsim.report.cells import prefixed
from accelsim.report.described import Described
from accelsim.report.design_columns import AMONG, COLUMNS, Compared
from accelsim.report.designs import Design, cheapest
from accelsim.report.figures.choosing import several
from accelsim.report.html.grid import Column, Grid

_ASKED = ("r", "MACs", "shift-adds", "of memory")
"""Columns that are hidden at first."""

_WIDTH = "b"
"""The part of a design's name that is shown even if all have it in common."""

_ALWAYS = ("cycles", "stalls", "seconds", "/least", "energy, J")
"""Columns that are shown on narrow screens too."""

_SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "seconds": ("time", lambda value: prefixed(value, "s")),
    "energy, J": ("energy", lambda value: prefixed(value, "J")),
    "of memory": ("of memory", lambda value: prefixed(value, "J")),
    "DRAM, B": ("DRAM", lambda value: prefixed(value, "B")),
}
"""Quantities that have a unit here, where the text has powers of ten."""


MOST_PLACES = 8
"""Roundings that are named one by one."""


@dataclass(frozen=True)
class DesignRow:
    """A design, and the run that it is from."""

    run: str
    compared: Compared


def design_grid(runs: Sequence[Described]) -> tuple[Grid[DesignRow], list[str]]:
    """Return a row for each modelled accelerator of each run, and which are the cheapest."""
    rows: list[DesignRow] = []
    best: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        groups: dict[str, list[Design]] = defaultdict(list)
        for design in run.designs:
            groups[design.asked].append(design)
        for asked, members in groups.items():
            winner = cheapest(members)
            least = None if winner is None else winner.area_time
            rows += [DesignRow(run.name, Compared(design, least)) for design in members]
            if winner is not None and len(members) > 1:
                named = ", ".join(
                    f"{name} {value}"
                    for name, value in winner.parts.items()
                    if any(design.parts.get(name) != value for design in members)
                )
                where = ", ".join(filter(None, ["" if run.alone else run.name, asked]))
                best[named or winner.label].append(where)
    return Grid("hardware", _columns(rows), rows), [
        f"The least area × time, {AMONG}: {name}{_where(places)}." for name, places in best.items()
    ]


def _where(places: Sequence[str]) -> str:
    """Say under which roundings, or in which runs, a design is the cheapest."""
    if not any(places):
        return ""
    return f" ({'; '.join(places) if len(places) <= MOST_PLACES else several(places)})"


def _columns(rows: Sequence[DesignRow]) -> list[Column[DesignRow]]:
    """Return the columns; those that distinguish designs come first."""
    parts = dict.fromkeys(part for row in rows for part in row.compared.design.parts)
    columns = [
        Column[DesignRow]("run", "the folder of the run", lambda row: row.run),
        Column[DesignRow](
            "asked", "the rounding, which decides the work",
            lambda row: row.compared.design.asked or None, rank="always",
        ),
        *(
            Column[DesignRow](
                part, "",
                lambda row, part=part: row.compared.design.parts.get(part),  # type: ignore[misc]
                rank="always",
            )
            for part in parts
        ),
    ]  # fmt: skip
    telling = [c for c in columns if c.title == _WIDTH or len({c.value(row) for row in rows}) > 1]
    if not telling:  # of a model that takes no width
        telling = [Column("design", "settings and backend", lambda row: row.compared.design.label)]
    return [
        *telling,
        *(
            Column[DesignRow](
                _SHOWN.get(column.title, (column.title, column.show))[0],
                column.meaning,
                lambda row, value=column.value: value(row.compared),  # type: ignore[misc]
                None
                if column.title in ("exact", "bound")
                else _SHOWN.get(column.title, (column.title, column.show))[1],
                rank=_rank(column.title),
            )
            for column in COLUMNS
        ),
    ]


def _rank(title: str) -> Literal["always", "wide", "asked"]:
    if title in _ASKED:
        return "asked"
    return "always" if title in _ALWAYS else "wide"
