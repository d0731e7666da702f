"""Pivot tables of records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, TypeAlias

from accelsim.records.fields import adds_up, parts_of
from accelsim.report.cells import text
from accelsim.report.fields import lookup

Label: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Pivot:
    """Records side by side.

    Attributes
    ----------
    row_fields, value_fields : tuple of str
        The fields that label the rows, and those in the cells.
    rows : tuple of tuple
        The label of each row: one value per field. They are sorted field by field, the values of
        each in their order of appearance.
    columns : tuple of str
        The label of each column, sorted in the same way.
    cells : mapping
        ``(row, column, value field)`` to the value: None where no record has one.
    merged : int
        The largest number of records behind one cell.
    added : frozenset of str
        The value fields of which cells hold sums over several GEMMs.
    divided : frozenset of str
        Those of which cells hold a sum over several GEMMs divided by another one.
    """

    row_fields: tuple[str, ...]
    value_fields: tuple[str, ...]
    rows: tuple[Label, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[Label, str, str], Any]
    merged: int
    added: frozenset[str] = frozenset()
    divided: frozenset[str] = frozenset()

    def table(self, values: Sequence[str]) -> list[dict[str, Any]]:
        """Return one mapping per row: its labels, then each column with each of `values`."""
        return [
            dict(zip(self.row_fields, row, strict=True))
            | {
                self.heading(column, value, values): self.cells.get((row, column, value))
                for column in self.columns
                for value in values
            }
            for row in self.rows
        ]

    def headings(self, values: Sequence[str]) -> list[str]:
        """Return the names of the fields of `table`, in their order."""
        return [
            *self.row_fields,
            *(self.heading(column, value, values) for column in self.columns for value in values),
        ]

    def without_repeats(self, value: str) -> Pivot:
        """Return the same with one column where all have equal numbers in every row.

        Its heading has their names. Columns without a value anywhere are then left out. Truth
        values stay apart, as each is a verdict on its column.
        """
        filled = [
            column
            for column in self.columns
            if any(self.cells.get((row, column, value)) is not None for row in self.rows)
        ]
        equal = all(
            len({self.cells.get((row, column, value)) for column in filled}) == 1
            for row in self.rows
        )
        verdicts = any(
            isinstance(found, bool) for (_, _, name), found in self.cells.items() if name == value
        )
        if len(filled) < 2 or not equal or verdicts:
            return self
        name = ", ".join(filled)
        cells = {(row, name, value): self.cells.get((row, filled[0], value)) for row in self.rows}
        return replace(self, columns=(name,), cells=cells)

    @staticmethod
    def heading(column: str, value: str, values: Sequence[str]) -> str:
        """Name a column by its label, and by the value where there are several."""
        return column if len(values) == 1 else f"{column} {value}"


def pivot(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
) -> Pivot:
    """Group records by `rows` and `columns` and merge the `values` of each group.

    Several numbers become their median, and those of several GEMMs their sum where they add up, as
    times, counts and energies do; the unpack ratio of several GEMMs is the sum of their low-bit
    multiplications over the sum of their dense ones. A sum that lacks a GEMM's value is None.
    Several truth values become whether all are true, and anything else the different values, in
    order.

    Parameters
    ----------
    records : sequence of mapping
        Nested mappings.
    rows, columns, values : sequence of str
        Fields as `accelsim.report.fields.lookup` takes them.
    """
    groups: dict[tuple[Label, str], list[Mapping[str, Any]]] = defaultdict(list)
    headings: dict[Label, str] = {}
    for record in records:
        row, column = (
            tuple(_label(lookup(record, field)) for field in fields) for fields in (rows, columns)
        )
        headings[column] = " ".join(text(part) for part in column if part is not None)
        groups[row, headings[column]].append(record)
    several = any(len(_by_gemm(group)) > 1 for group in groups.values())
    return Pivot(
        row_fields=tuple(rows),
        value_fields=tuple(values),
        rows=tuple(_sorted(dict.fromkeys(row for row, _ in groups))),
        columns=tuple(dict.fromkeys(headings[column] for column in _sorted(headings))),
        cells={
            (row, column, field): _merged(group, field)
            for (row, column), group in groups.items()
            for field in values
        },
        merged=max(map(len, groups.values()), default=0),
        added=frozenset(field for field in values if several and adds_up(field)),
        divided=frozenset(field for field in values if several and parts_of(field)),
    )


_GEMM = ("workload", "gemm", "op", "layer", "phase")
"""What tells a GEMM from others."""


def _by_gemm(records: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[Label, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        found[tuple(_label(record.get(field)) for field in _GEMM)].append(record)
    return list(found.values())


def _merged(records: Sequence[Mapping[str, Any]], field: str) -> Any:
    """Return the value of a cell."""
    each = _by_gemm(records) if adds_up(field) or parts_of(field) else []
    if len(each) < 2:
        return _merge([lookup(record, field) for record in records])
    if (parts := parts_of(field)) is None:
        return _summed(each, field)
    over, under = (_summed(each, part) for part in parts)
    return over / under if over is not None and under else None


def _summed(each: Sequence[Sequence[Mapping[str, Any]]], field: str) -> float | None:
    """Return the sum over GEMMs of the values of their records; None if one has none."""
    values = [_merge([lookup(record, field) for record in records]) for records in each]
    return sum(values) if all(isinstance(value, int | float) for value in values) else None


def _label(value: Any) -> Any:
    """Return a hashable label; a pair or options become their text."""
    return text(value) if isinstance(value, Mapping | list) else value


def _sorted(labels: Iterable[Label]) -> list[Label]:
    """Sort by the first field, then by the second, ...: records of a cluster come in any order."""
    labels = list(labels)
    ranks = [
        {value: rank for rank, value in enumerate(dict.fromkeys(values))}
        for values in zip(*labels, strict=True)
    ]
    return sorted(labels, key=lambda label: [r[v] for r, v in zip(ranks, label, strict=True)])


def _merge(values: list[Any]) -> Any:
    present = [_label(value) for value in values if value is not None]
    distinct = list(dict.fromkeys(present))
    if len(distinct) <= 1:
        return distinct[0] if distinct else None
    if all(isinstance(value, bool) for value in present):
        return all(present)
    if all(isinstance(value, int | float) for value in present):
        return median(present)
    return ", ".join(text(value) for value in distinct)
