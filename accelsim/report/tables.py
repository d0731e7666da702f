"""Rows as a table for the terminal, csv, json or markdown."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.errors import InputError, unknown_name
from accelsim.report.cells import column, printable, text
from accelsim.report.fields import flatten

Format: TypeAlias = Literal["table", "csv", "json", "markdown"]
FORMATS: tuple[Format, ...] = get_args(Format)

_UNBOUNDED = 100_000
"""A width in columns that no table reaches."""

_Rows: TypeAlias = Sequence[Mapping[str, Any]]


def render(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    format: Format = "table",
    title: str | None = None,
) -> str:
    """Render rows, one line or object each.

    ``table`` and ``markdown`` round numbers to 4 digits; ``csv`` and ``json`` keep them. A table
    is as wide as it needs to be, and on a terminal no wider than that: cells are then folded,
    never cut. The words of a header stand below each other.

    Parameters
    ----------
    rows : sequence of mapping
        Nested mappings are flattened to fields with dotted names.
    columns : sequence of str, optional
        Which fields, in which order; all in order of appearance if not given.
    format : {"table", "csv", "json", "markdown"}
        What to render.
    title : str, optional
        A line above a ``table`` or ``markdown``.

    Returns
    -------
    str
        The text, with a line end.

    Raises
    ------
    InputError
        If no row has a column that was asked for.
    ValueError
        If the format is unknown, or a number in json is NaN or infinite.
    """
    if format not in FORMATS:
        raise ValueError(unknown_name("format", format, FORMATS))
    flat = [flatten(row) for row in rows]
    known = dict.fromkeys(name for row in flat for name in row)
    chosen = list(known) if columns is None else list(columns)
    for name in chosen:
        if rows and name not in known:
            raise InputError(unknown_name("column", name, known))
    if format == "json":
        objects = [{name: row.get(name) for name in chosen} for row in flat]
        return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if format == "csv":
        return _csv(flat, chosen)
    draw = _table if format == "table" else _markdown
    return f"{title}\n\n{draw(flat, chosen)}" if title else draw(flat, chosen)


def _csv(rows: _Rows, columns: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()


def _csv_cell(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return text(value)


def _table(rows: _Rows, columns: Sequence[str]) -> str:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(
            Text(printable(name).replace(" ", "\n")),
            justify="right" if _is_numeric(rows, name) else "left",
            overflow="fold",
            vertical="bottom",
        )
    for line in _lines(rows, columns):
        table.add_row(*map(Text, line))
    stream = io.StringIO()
    width = None if sys.stdout.isatty() else _UNBOUNDED
    Console(file=stream, width=width, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _markdown(rows: _Rows, columns: Sequence[str]) -> str:
    rules = ["---:" if _is_numeric(rows, name) else "---" for name in columns]
    lines = [[printable(name) for name in columns], rules, *_lines(rows, columns)]
    return "".join(f"| {' | '.join(map(_escape, line))} |\n" for line in lines)


def _lines(rows: _Rows, columns: Sequence[str]) -> list[tuple[str, ...]]:
    texts = [column([row.get(name) for row in rows]) for name in columns]
    return list(zip(*texts, strict=True))


def _escape(words: str) -> str:
    return words.replace("\\", "\\\\").replace("|", "\\|")


def _is_numeric(rows: _Rows, name: str) -> bool:
    """Say whether a column has nothing but numbers, or nothing at all."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
