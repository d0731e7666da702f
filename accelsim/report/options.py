"""The options that distinguish records of the same backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from accelsim.records import KEY_FIELDS, Record
from accelsim.records.keyed import canonical_json
from accelsim.report.fields import flatten, lookup

_SETTINGS = [field for field in KEY_FIELDS if field not in ("backend", "backend_options")]


def telling_options(records: Iterable[Mapping[str, Any] | Record]) -> dict[str, list[str]]:
    """Return for each backend the options that differ between records of one GEMM and setting.

    An option that follows the setting, as the width of an emulated multiplier follows the bits,
    distinguishes nothing and is left out. The parts of an option that is a mapping are named by
    their path with dots.

    Parameters
    ----------
    records : iterable of mapping or Record
        Records, or just their key fields (`accelsim.records.KEY_FIELDS`).
    """
    same: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    names: dict[str, dict[str, None]] = defaultdict(dict)
    known: dict[tuple[str, str], str] = {}
    for record in records:
        field = record.__getitem__ if isinstance(record, Mapping) else partial(getattr, record)
        backend, options = field("backend"), field("backend_options")
        place = (backend, *(_hashable(field(name)) for name in _SETTINGS))
        written = repr(options)  # many records have the same
        if (backend, written) not in known:
            known[backend, written] = canonical_json(options)
            names[backend] |= dict.fromkeys(flatten(options))
        same[place].setdefault(known[backend, written], options)
    # Most places have the same options.
    several = {(place[0], *found): found for place, found in same.items() if len(found) > 1}
    telling = {
        (backend, name)
        for (backend, *_), found in several.items()
        for name in names[backend]
        if len({canonical_json(lookup(options, name)) for options in found.values()}) > 1
    }
    return {
        backend: _outermost([name for name in options if (backend, name) in telling])
        for backend, options in names.items()
    }


def _hashable(value: Any) -> Any:
    """Return a canonical form: 95 and 95.0 are equal, and so are pairs of equal parts."""
    if value is None or isinstance(value, str | int | float):
        return value
    return canonical_json(value if isinstance(value, Mapping) else value.model_dump())


def option_values(options: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    """Return the values of the named options, or parts of options, that a backend has."""
    found = [(name, lookup(options, name)) for name in names]
    return [value for name, value in found if value is not None or name in options]


def differing_parts(values: Iterable[Any]) -> list[str]:
    """Return the parts, by their path with dots, in which mappings among some values differ."""
    mappings = {canonical_json(v): flatten(v) for v in values if isinstance(v, Mapping)}
    names = dict.fromkeys(name for mapping in mappings.values() for name in mapping)
    return [
        name
        for name in names
        if len({canonical_json(mapping.get(name)) for mapping in mappings.values()}) > 1
    ]


def _outermost(names: list[str]) -> list[str]:
    """Leave out parts of an option that is named as a whole."""
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
