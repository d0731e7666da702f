"""The fields of nested rows, named by their path with dots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace nested mappings by fields with dotted names; an empty mapping stays a value."""
    return dict(_leaves(row, ""))


def _leaves(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def field_names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of fields that one cell can show, in order of appearance.

    A mapping of plain values counts as a field, and so do its values; repeated times count as
    one, their median. A mapping of mappings does not count, only what is in it.
    """
    names: dict[str, None] = {}
    too_deep: set[str] = set()
    for row in rows:
        for name, value in _paths(row, ""):
            names.setdefault(name)
            if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
                too_deep.add(name)
    return [name for name in names if name not in too_deep]


def _paths(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def lookup(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field, or None if the row does not have it.

    Parameters
    ----------
    row : mapping
        A row with nested mappings.
    name : str
        A path such as ``time_ms.total.p25``. A path that leads to repeated times means their
        median: ``time_ms.total`` is ``time_ms.total.median``.
    """
    value = _walk(row, name)
    if isinstance(value, Mapping) and "median" in value:
        return value["median"]
    return value


def _walk(row: Any, name: str) -> Any:
    if not isinstance(row, Mapping):
        return None
    if name in row:
        return row[name]
    for position in (index for index, char in enumerate(name) if char == "."):
        found = _walk(row.get(name[:position]), name[position + 1 :])
        if found is not None:
            return found
    return None
