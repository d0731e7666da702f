"""Settings of records in words: those that all share, and those that distinguish records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from accelsim.records import Record
from accelsim.records.fields import FIELDS, SETTINGS
from accelsim.report.cells import text

_USUAL = {"zero_alpha": "error", "product": "integers"}
"""Settings that are not mentioned if all records share them."""

ASKED = ("percentile", "beta", "granularity")
"""The settings that decide which integers are multiplied."""

SWEPT = tuple(field for field in SETTINGS if field != "workload")
"""All settings but the workload."""


class Settings:
    """The settings of some records.

    Parameters
    ----------
    records : sequence of Record
        The records of one run.
    elsewhere : sequence of str
        Fields that the lines of the table show, where they differ.

    Attributes
    ----------
    elsewhere : sequence of str
        As given.
    shared : list of str
        The settings that all records have in common, such as ``8 bits``.
    """

    def __init__(self, records: Sequence[Record], elsewhere: Sequence[str] = ()) -> None:
        self.elsewhere = elsewhere
        self.shared: list[str] = []
        self._varying: list[str] = []
        for field in SETTINGS:
            values = [getattr(record, field) for record in records]
            if any(value != values[0] for value in values):
                if field not in elsewhere:
                    self._varying.append(field)
            elif values and values[0] not in (None, _USUAL.get(field)):
                self.shared.append(_say(field, values[0]))

    @property
    def swept(self) -> list[str]:
        """The settings, but for the workload, that differ and that no line shows."""
        return [field for field in self._varying if field in SWEPT]

    def sweep(self, record: Record, among: Collection[str] = SWEPT) -> list[str]:
        """Return the settings of `record`, those `among` some, that differ among the records."""
        return describe(record, [field for field in self._varying if field in among])

    def varies(self, name: str) -> bool:
        """Whether the records differ in a setting."""
        return name in self._varying

    def gemm(self, record: Record) -> str:
        """Name the GEMM of `record`, with its workload where that is not clear."""
        if "workload" in self._varying and not record.gemm.startswith(f"{record.workload}."):
            return f"{record.workload}: {record.gemm}"
        return record.gemm


def describe(record: Record | Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """Return some settings of a record in words, such as ``8 bits``; none for those it lacks.

    Parameters
    ----------
    record : Record or mapping
        A record, or its fields.
    fields : sequence of str
        Which of `SETTINGS`.
    """
    known = record if isinstance(record, Mapping) else {f: getattr(record, f) for f in fields}
    values = ((field, known[field]) for field in fields)
    return [_say(field, value) for field, value in values if value is not None]


def describe_parts(record: Record, fields: Sequence[str]) -> dict[str, str]:
    """Return some settings of a record by the heads of their columns; none for those it lacks."""
    values = ((field, getattr(record, field)) for field in fields)
    return {FIELDS[field].title: _plain(value) for field, value in values if value is not None}


def _say(field: str, value: Any) -> str:
    return FIELDS[field].said.format(_plain(value))


def _plain(value: Any) -> str:
    return text({"a": value.a, "b": value.b} if hasattr(value, "a") else value)
