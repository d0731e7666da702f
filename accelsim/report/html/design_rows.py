"""The page's table of modelled accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.report.design_columns import COLUMNS, Compared
from accelsim.report.html.grid import Column


@dataclass(frozen=True)
class DesignRow:
    """A design, and the run that it is from."""

    run: str
    compared: Compared


def design_columns(rows: Sequence[DesignRow]) -> list[Column[DesignRow]]:
    """Return the columns; what tells designs apart comes first."""
    several = len({row.run for row in rows}) > 1
    return [
        *([Column[DesignRow]("run", "", lambda row: row.run)] if several else []),
        Column("asked", "the rounding, which decides the work", _asked),
        Column("design", "settings and backend", lambda row: row.compared.design.label),
        *(
            Column(
                column.title,
                column.meaning,
                lambda row, value=column.value: value(row.compared),  # type: ignore[misc]
                None if column.title == "exact" else column.show,
            )
            for column in COLUMNS
        ),
    ]


def _asked(row: DesignRow) -> str | None:
    return row.compared.design.asked or None
