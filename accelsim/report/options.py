"""The options that tell apart records of the same backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from accelsim.records import RecordKey, record_key


def telling_options(records: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return for each backend the options that differ between records of one GEMM and setting.

    An option that follows the setting, as the width of an emulated multiplier follows the bits,
    tells nothing apart and is left out.

    Parameters
    ----------
    records : iterable of mapping
        The key fields of records (`accelsim.records.KEY_FIELDS`).
    """
    same: dict[RecordKey, list[Mapping[str, Any]]] = defaultdict(list)
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        same[record_key({**record, "backend_options": {}})].append(record)
        names[record["backend"]] |= dict.fromkeys(record["backend_options"])
    telling = {
        (group[0]["backend"], name)
        for group in same.values()
        for name in names[group[0]["backend"]]
        if any(
            record["backend_options"].get(name) != group[0]["backend_options"].get(name)
            for record in group
        )
    }
    return {
        backend: [name for name in options if (backend, name) in telling]
        for backend, options in names.items()
    }
