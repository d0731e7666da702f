"""The choice of values that a figure shows, and the note about the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from accelsim.records.fields import FIELDS

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

_NAMED = 12
"""At most this many values are listed individually."""


def chosen(values: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    if most == 1:
        return [values[0]]
    last = len(values) - 1
    return [values[round(index * last / (most - 1))] for index in range(most)]


def several(values: Sequence[object]) -> str:
    """List the values, or give their number and range."""
    if len(values) <= _NAMED:
        return ", ".join(map(str, values))
    return f"{len(values)} from {values[0]} to {values[-1]}"


def left_out(what: str, shown: Sequence[object], all_values: Sequence[object]) -> str:
    """Return which values are shown if not all are; otherwise an empty text."""
    if len(shown) == len(all_values):
        return ""
    return f" Of {len(all_values)} values of {what} these are shown: {several(shown)}."


def thin(rows: DataFrame, fields: Sequence[str], most: int) -> tuple[DataFrame, str]:
    """Keep rows of at most `most` combinations of some fields.

    The field with the most values loses every other one until they fit.

    Parameters
    ----------
    rows : DataFrame
        With the fields as columns.
    fields : sequence of str
        What makes a combination.
    most : int
        At least 1.

    Returns
    -------
    DataFrame
        The rows that are kept.
    str
        Which values are left, to be added to a caption; empty if nothing was left out.
    """
    every = {field: list(dict.fromkeys(rows[field])) for field in fields}
    kept = dict(every)
    while len(rows[list(fields)].drop_duplicates()) > most:
        widest = max(fields, key=lambda field: len(kept[field]))
        kept[widest] = chosen(kept[widest], max(1, len(kept[widest]) // 2))
        rows = rows[rows[widest].isin(kept[widest])]
    words = (left_out(_title(field), kept[field], every[field]) for field in fields)
    return rows, "".join(words)


MOST_POINTS = 1000
"""Points that a scatter plot has at most."""


def sample(rows: DataFrame, most: int) -> tuple[DataFrame, str]:
    """Keep at most a number of rows, evenly spread over all, and return a note about it."""
    if len(rows) <= most:
        return rows, ""
    kept = rows.iloc[chosen(range(len(rows)), most)]
    return kept, f" {most} of {len(rows)} records are shown, evenly spread over them."


def _title(field: str) -> str:
    return FIELDS[field].title if field in FIELDS else field
