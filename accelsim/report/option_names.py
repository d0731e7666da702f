"""Names of the same backend with other options: described accelerators, or what differs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.plugins.options import resolved_options
from accelsim.records import Record
from accelsim.records.fields import FIELDS
from accelsim.records.keyed import canonical_json
from accelsim.report.cells import text
from accelsim.report.fields import flatten, lookup
from accelsim.report.options import differing_parts, option_values, telling_options
from gemm_backends import load_backend
from gemm_backends.cost.accelerators import MODEL, accelerator_options, list_accelerators

ACCELERATOR = "accelerator"
"""The title of the names of accelerators, as the key of a config."""

MOST_OPTIONS = 3
"""From more options than this, those that follow from others are left out of a name."""

_MOST_OVERRIDDEN = 3
"""Options in which a described accelerator and one that bears its name may differ."""

_KEPT = ("array", "dataflow")
"""Options without which it would be another accelerator."""

_MEMORY = "memory."

_TAKEN = {ACCELERATOR, "run", *(field.title for field in FIELDS.values())} - {"mapping"}
"""Titles that mean something else in the same tables, such as b."""


def option_title(name: str) -> str:
    """Return what an option, or a part of one, is called everywhere: its key in the config.

    Parts of ``memory`` are called by their path in it, such as ``sram_kb.b``.

    Parameters
    ----------
    name : str
        The option, or the path of a part with dots.
    """
    short = name.removeprefix(_MEMORY)
    return f"backend_options.{name}" if short in _TAKEN else short


class OptionNames:
    """Tells the designs of a run apart that are the same backend with other options.

    Where some are described accelerators (`accelerator` in a config), these have their names, with
    the options that were changed, and the others the fewest options that tell them apart.

    Parameters
    ----------
    records : iterable of mapping or Record
        Those of a run, or just their key fields.
    """

    def __init__(self, records: Iterable[Mapping[str, Any] | Record]) -> None:
        records = list(records)
        self._telling = telling_options(records)
        kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
        written = set()
        for record in records:
            if isinstance(record, Mapping):
                backend, options = record["backend"], record["backend_options"]
            else:
                backend, options = record.backend, record.backend_options
            if (key := (backend, repr(options))) not in written:
                written.add(key)
                kinds.setdefault(backend, {})[canonical_json(options)] = options
        self._parts: dict[tuple[str, str], list[str]] = {}
        self._named: dict[tuple[str, str], dict[str, str]] = {}
        self._bare: dict[str, list[str]] = {}
        for backend, found in kinds.items():
            self._name(backend, list(found.values()))

    def _name(self, backend: str, kinds: Sequence[Mapping[str, Any]]) -> None:
        names = self._telling[backend]
        for name in names:
            self._parts[backend, name] = differing_parts(kind.get(name) for kind in kinds)
        described = [accelerator_name(kind) if backend == MODEL else None for kind in kinds]
        bases = {None if one is None else one.partition(",")[0] for one in described}
        by_name = len(bases) > 1
        own = [k for k, one in zip(kinds, described, strict=True) if one is None or not by_name]
        told = names
        if by_name:  # an array is better known by its size than by anything else
            told = ["array", *(name for name in names if name not in ("array", "bits"))]
        if by_name or len(names) > MOST_OPTIONS:
            told = needed_options(own, told)
        self._bare[backend] = [
            name
            for name in (() if by_name else told)
            if all(isinstance(kind.get(name), str) for kind in kinds)
        ]
        for kind, one in zip(kinds, described, strict=True):
            parts = self._options(backend, kind, told)
            if by_name:
                words = ", ".join(f"{title}={value}" for title, value in parts.items())
                parts = {ACCELERATOR: one or words}
            self._named[backend, canonical_json(kind)] = parts

    def parts(self, backend: str, options: Mapping[str, Any]) -> dict[str, str]:
        """Return what tells a backend with some options apart, by its titles."""
        known = self._named.get((backend, canonical_json(options)))
        if known is not None:
            return known
        return self._options(backend, options, self._telling.get(backend, []))

    def words(self, backend: str, options: Mapping[str, Any]) -> list[str]:
        """Return the same for a text: names of options but where a word alone is clear."""
        return [
            value if title in (ACCELERATOR, *self._bare.get(backend, ())) else f"{title}={value}"
            for title, value in self.parts(backend, options).items()
        ]

    def notes(self) -> list[str]:
        """Say of which options values stand behind a backend without their names."""
        return [
            f"After {backend} stands its {', '.join(names)}."
            for backend, names in self._bare.items()
            if names
        ]

    def _options(
        self, backend: str, options: Mapping[str, Any], names: Sequence[str]
    ) -> dict[str, str]:
        return {
            option_title(name): self._word(backend, name, value)
            for name in names
            for value in option_values(options, [name])
        }

    def _word(self, backend: str, name: str, value: Any) -> str:
        """Return the value of an option; of a mapping, the parts that differ from others."""
        if not isinstance(value, Mapping):
            return text(value)
        return text({part: lookup(value, part) for part in self._parts[backend, name]}) or "yes"


def accelerator_name(options: Mapping[str, Any]) -> str | None:
    """Return the described accelerator that options of the model are, or nearly are.

    Options in which it differs follow the name, such as ``edge, frequency_mhz=500``; None if it is
    another array, or more than three options differ.

    Parameters
    ----------
    options : mapping
        Those of the backend that models it.
    """
    mine = flatten(options)
    found: list[tuple[int, str]] = []
    for name, given in _described().items():
        if any(_differ(mine, given, key) for key in _KEPT):
            continue
        theirs = _defaults() | given
        keys = dict.fromkeys([*mine, *given])
        changed = [key for key in keys if key != "bits" and _differ(mine, theirs, key)]
        if len(changed) <= _MOST_OVERRIDDEN:
            words = [f"{option_title(key)}={text(mine.get(key, 'default'))}" for key in changed]
            found.append((len(changed), ", ".join([name, *words])))
    return min(found)[1] if found else None


def _differ(mine: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> bool:
    return canonical_json(mine.get(key)) != canonical_json(theirs.get(key))


@functools.cache
def _defaults() -> dict[str, Any]:
    return resolved_options(type(load_backend(MODEL)), (), {})


@functools.cache
def _described() -> dict[str, dict[str, Any]]:
    return {name: flatten(accelerator_options(name, Path())) for name in list_accelerators()}


def needed_options(kinds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the fewest options, at least one, that still tell all kinds apart; last ones go.

    Parameters
    ----------
    kinds : sequence of mapping
        The options of each kind.
    names : sequence of str
        Options, or parts of options by their path with dots.
    """

    def told(kept: Sequence[str]) -> int:
        return len({canonical_json([lookup(kind, name) for name in kept]) for kind in kinds})

    kept = list(names)
    for name in reversed(names):
        fewer = [other for other in kept if other != name]
        if fewer and told(fewer) == told(names):
            kept = fewer
    return kept
