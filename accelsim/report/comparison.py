"""Default rows and columns of a comparison of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.records import KEY_FIELDS
from accelsim.report.cells import text
from accelsim.report.fields import lookup
from accelsim.report.options import telling_options

ROWS = ("gemm", "beta", "bits", "strategy")

_OF_BACKEND = ("backend", "backend_options")


def default_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return `ROWS`, and what else varies if a cell would hold several records without it."""
    rows = [field for field in ROWS if field not in columns]
    cells = {tuple(text(lookup(r, field)) for field in (*rows, *columns)) for r in records}
    if len(cells) == len(records):
        return rows
    swept = [
        field
        for field in KEY_FIELDS
        if field not in (*rows, *columns, *_OF_BACKEND)
        and len({text(record[field]) for record in records}) > 1
    ]
    return [*swept, *rows]


def default_columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the backend, with the run and the options where they tell records apart."""
    several = len({record["run"] for record in records}) > 1
    return [*(["run"] if several else []), "backend", *_telling(records)]


def with_options(
    records: Sequence[Mapping[str, Any]], fields: Sequence[str], others: Sequence[str]
) -> list[str]:
    """Return fields with the options that tell backends of one name apart behind the backend.

    Without them a cell would hold the median of different designs.

    Parameters
    ----------
    records : sequence of mapping
        What is compared.
    fields : sequence of str
        Those of the columns, or of the rows.
    others : sequence of str
        Those of the other ones; what they show is not added.
    """
    if "backend" not in fields:
        return list(fields)
    shown = [*fields, *others]
    added = [name for name in _telling(records) if not any(_overlap(name, s) for s in shown)]
    place = fields.index("backend") + 1
    return [*fields[:place], *added, *fields[place:]]


def _overlap(name: str, other: str) -> bool:
    """Whether one field is the other or a part of it."""
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _telling(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields of the options that differ between backends of one name in one run."""
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        runs[record["run"]].append(record)
    options = {
        f"backend_options.{name}": None
        for of_run in runs.values()
        for names in telling_options(of_run).values()
        for name in names
    }
    return list(options)
