"""Rows as a table for the terminal, csv, json, markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from rich import box
from rich.align import Align, AlignMethod
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.errors import InputError, unknown_name
from accelsim.report.cells import column, printable, text
from accelsim.report.fields import flatten
from accelsim.report.formats import FORMATS, Format
from accelsim.report.latex import tabular

_UNBOUNDED = 100_000
"""A width in columns that no table reaches."""

_GAP = 2
"""Columns of the terminal between two of a table."""

_Rows: TypeAlias = Sequence[Mapping[str, Any]]


def render(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    format: Format = "table",
    title: str | None = None,
    labels: int = 0,
    width: int | None = None,
) -> str:
    """Render rows, one line or object each.

    ``table``, ``markdown`` and ``latex`` round numbers to 4 digits; ``csv`` and ``json`` keep
    them. A table is as wide as it needs to be, and on a terminal no wider than that: cells are then
    folded, never cut. The words of a header stand below each other.

    Parameters
    ----------
    rows : sequence of mapping
        Nested mappings are flattened to fields with dotted names, but for ``json`` of all columns.
    columns : sequence of str, optional
        Which fields, in which order; all in order of appearance if not given.
    format : {"table", "csv", "json", "markdown", "latex"}
        What to render.
    title : str, optional
        A line above a ``table`` or ``markdown``, a comment in ``latex``.
    labels : int
        How many of the first columns label the rows.
    width : int, optional
        A ``table`` that is wider is cut into several below each other, with the labels in each.

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
    nested = format == "json" and columns is None
    flat: _Rows = rows if nested else [flatten(row) for row in rows]
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
    if format == "latex":
        numeric = [_is_numeric(flat, name) for name in chosen]
        return tabular([printable(n) for n in chosen], _lines(flat, chosen), numeric, title)
    if format == "markdown":
        drawn = _markdown(flat, chosen)
    elif width is None:
        drawn = _table(flat, chosen, None if sys.stdout.isatty() else _UNBOUNDED)
    else:
        panels = _panels(flat, chosen, labels, width)
        drawn = "\n".join(_table(flat, panel, width) for panel in panels)
    return f"{title}\n\n{drawn}" if title else drawn


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


def _panels(rows: _Rows, columns: Sequence[str], labels: int, width: int) -> list[list[str]]:
    """Share the columns out so that the labels and some others fit the width, at least one."""
    texts = zip(columns, *_lines(rows, columns), strict=True)
    needs = [
        _GAP + max(*map(len, printable(name).split(" ")), *map(len, cells), 0)
        for name, *cells in texts
    ]
    head, free = list(columns[:labels]), width + _GAP - sum(needs[:labels])
    panels: list[list[str]] = []
    used = free
    for name, need in zip(columns[labels:], needs[labels:], strict=True):
        if used + need > free:
            panels.append([*head])
            used = 0
        panels[-1].append(name)
        used += need
    return panels or [head]


def _table(rows: _Rows, columns: Sequence[str], width: int | None) -> str:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        side: AlignMethod = "right" if _is_numeric(rows, name) else "left"
        words = Text(printable(name).replace(" ", "\n"))
        table.add_column(Align(words, side, vertical="bottom"), justify=side, overflow="fold")
    for line in _lines(rows, columns):
        table.add_row(*map(Text, line))
    stream = io.StringIO()
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
    """Whether a column has only numbers, or nothing."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
