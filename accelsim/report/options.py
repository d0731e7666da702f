"""The options that tell apart records of the same backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from accelsim.records import RecordKey, record_key
from accelsim.report.fields import flatten, lookup


def telling_options(records: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return for each backend the options that differ between records of one GEMM and setting.

    An option that follows the setting, as the width of an emulated multiplier follows the bits,
    tells nothing apart and is left out. Of an option that is a mapping the parts are named, by
    their path with dots.

    Parameters
    ----------
    records : iterable of mapping
        The key fields of records (`accelsim.records.KEY_FIELDS`).
    """
    same: dict[RecordKey, list[Mapping[str, Any]]] = defaultdict(list)
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        same[record_key({**record, "backend_options": {}})].append(record)
        names[record["backend"]] |= dict.fromkeys(flatten(record["backend_options"]))
    telling = {
        (group[0]["backend"], name)
        for group in same.values()
        for name in names[group[0]["backend"]]
        if any(
            lookup(record["backend_options"], name) != lookup(group[0]["backend_options"], name)
            for record in group
        )
    }
    return {
        backend: _outermost([name for name in options if (backend, name) in telling])
        for backend, options in names.items()
    }


def option_values(options: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    """Return the values of the named options, or parts of options, that a backend has."""
    found = [(name, lookup(options, name)) for name in names]
    return [value for name, value in found if value is not None or name in options]


def _outermost(names: list[str]) -> list[str]:
    """Leave out parts of an option that is named as a whole."""
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
