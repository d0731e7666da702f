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
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        runs[record["run"]].append(record)
    options = {
        f"backend_options.{name}": None
        for of_run in runs.values()
        for names in telling_options(of_run).values()
        for name in names
    }
    return [*(["run"] if len(runs) > 1 else []), "backend", *options]
