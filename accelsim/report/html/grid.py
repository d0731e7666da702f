"""A table of the page: its first rows as HTML, all of them as data that sorts and filters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from accelsim.report.cells import MISSING, text

T = TypeVar("T")
Rank: TypeAlias = Literal["always", "wide", "asked"]

PAGE = 100
"""Rows that the page shows before anything is sorted or filtered."""

MOST_CHOICES = 40
"""A column of labels with more values than this has no list to choose from."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column.

    Parameters
    ----------
    title : str
        Its head.
    meaning : str
        What the head means; empty where that is clear.
    value : callable
        From a row to its value: a number, a text, or None where there is none.
    show : callable, optional
        From a value to its text; without it the column holds labels, and can be chosen from.
    key : callable, optional
        From a value to the number that it sorts by, if it is none itself; None sorts last.
    rank : {"always", "wide", "asked"}
        On which screens it is shown before the reader chooses columns: on all, on all but narrow
        ones, or on none.
    classed : bool
        Whether the texts are classes of the page's style as well.
    """

    title: str
    meaning: str
    value: Callable[[T], Any]
    show: Callable[[Any], str] | None = None
    key: Callable[[Any], float | None] = lambda value: value
    rank: Rank = "wide"
    classed: bool = False

    def classes(self, text: str = "") -> str:
        """Return the classes of a cell with this text."""
        words = ["number"] if self.show is not None else []
        words += ["asked"] if self.rank == "asked" else []
        return " ".join([*words, *([text] if self.classed and text.isalpha() else [])])


@dataclass(frozen=True)
class Cell:
    """One cell as the page shows it."""

    text: str
    classes: str


class Grid(Generic[T]):
    """Rows and columns, ready for the page.

    Parameters
    ----------
    name : str
        Identifies this table on the page.
    columns : sequence of Column
        Those that have no value in any row are left out.
    rows : sequence
        What `Column.value` takes.
    """

    def __init__(self, name: str, columns: Sequence[Column[T]], rows: Sequence[T]) -> None:
        self.name = name
        values = [[column.value(row) for row in rows] for column in columns]
        kept = [any(value is not None for value in of_column) for of_column in values]
        self.columns = [column for column, keep in zip(columns, kept, strict=True) if keep]
        self._values = [of_column for of_column, keep in zip(values, kept, strict=True) if keep]
        self.count = len(rows)

    @property
    def head(self) -> list[Cell]:
        """The heads of the columns."""
        return [Cell(column.title, column.classes()) for column in self.columns]

    @property
    def first_rows(self) -> list[list[Cell]]:
        """The rows that the page shows at first."""
        return [
            [
                Cell(words := _shown(column, values[row]), column.classes(words))
                for column, values in zip(self.columns, self._values, strict=True)
            ]
            for row in range(min(self.count, PAGE))
        ]

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """Each head that needs an explanation, with the explanation."""
        return [(column.title, column.meaning) for column in self.columns if column.meaning]

    @property
    def data(self) -> str:
        """JSON for the page's script, with nothing in it that could end a ``<script>``.

        For each column its different ``texts``, for numbers the ``keys`` by which those sort, and
        for each row the place of its text.
        """
        columns = []
        for column, values in zip(self.columns, self._values, strict=True):
            shown = [_shown(column, value) for value in values]
            pairs = dict.fromkeys(zip(shown, values, strict=True)) if column.show else {}
            texts = list(dict.fromkeys(shown)) if not pairs else [words for words, _ in pairs]
            places = {key: place for place, key in enumerate(pairs or texts)}
            keys = zip(shown, values, strict=True) if column.show else shown
            columns.append(
                {
                    "title": column.title,
                    "rank": column.rank,
                    "classed": column.classed,
                    "choose": column.show is None and 1 < len(texts) <= MOST_CHOICES,
                    "texts": texts,
                    "keys": [_key(column, value) for _, value in pairs] if pairs else None,
                    "rows": [places[key] for key in keys],
                }
            )
        content = {"page": PAGE, "columns": columns}
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace(
            "<", "\\u003c"
        )


def _key(column: Column[Any], value: Any) -> float | int | None:
    """Return a number to sort by, short: 5 digits tell more apart than a cell shows."""
    value = None if value is None else column.key(value)
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return None if value is None else int(value)


def _shown(column: Column[Any], value: Any) -> str:
    if value is None:
        return MISSING
    return column.show(value) if column.show else text(value)
