"""The entries of ``workloads`` and ``backends``, and names that plug-ins define."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from accelsim.config.document import Document
from accelsim.config.messages import validated
from accelsim.config.problems import Loc, shown
from accelsim.config.run_config import BackendChoice
from accelsim.errors import InputError, unknown_name
from accelsim.registry import split_reference
from workloads.paths import from_folder
from workloads.sources import EntryError, WorkloadSource
from workloads.sources import registry as sources


def check_workloads(document: Document, entries: Sequence[Any]) -> tuple[WorkloadSource, ...]:
    """Check the entries of ``workloads``, open each, and see that all GEMMs have different names.

    Problems go to `document`; entries that have one are left out of the result.
    """
    checked = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        source = _workload(document, entry, ("workloads", index))
        if source is not None:
            checked.append(source)
            _open(document, source, ("workloads", index), seen)
    return tuple(checked)


def _workload(document: Document, entry: Any, loc: Loc) -> WorkloadSource | None:
    known = sources.names()
    keys = [key for key in entry if key in known] if isinstance(entry, dict) else []
    if not isinstance(entry, dict):
        document.report(loc, f"found {shown(entry)}; expected a mapping with {_one_of(known)}")
    elif len(keys) > 1:
        document.report(loc, f"found {' and '.join(keys)}; expected only one of them")
    elif not keys and entry:
        key = next(iter(entry))
        document.report((*loc, key), unknown_name("workload source", key, known), at_key=True)
    elif not keys:
        document.report(loc, f"found an empty mapping; expected {_one_of(known)}")
    else:
        try:
            model = sources.get(keys[0])
        except InputError as error:
            document.report((*loc, keys[0]), str(error), at_key=True)
            return None
        return validated(document, model, entry, loc)
    return None


def _one_of(names: Sequence[str]) -> str:
    return f"one of the keys {', '.join(names)}"


def _open(document: Document, source: WorkloadSource, loc: Loc, seen: set[str]) -> None:
    try:
        gemms = source.open(document.path.parent)
    except EntryError as error:
        document.report((*loc, *error.loc), str(error))
        return
    except InputError as error:
        document.report((*loc, source.key), str(error))
        return
    for gemm in gemms:
        if gemm.id in seen:
            document.report(loc, f"GEMM {gemm.id!r} is there already; expected different names")
        seen.add(gemm.id)


def check_backends(document: Document, entries: Sequence[Any]) -> tuple[BackendChoice, ...]:
    """Check the entries of ``backends`` by making an instance of each.

    Problems go to `document`; entries that have one are left out of the result.
    """
    choices: list[BackendChoice] = []
    for index, entry in enumerate(entries):
        choice = _backend(document, entry, ("backends", index))
        if choice is None:
            continue
        if choice in choices:
            message = f"found {shown(choice.to_record())} twice; expected different backends"
            document.report(("backends", index), message)
        choices.append(choice)
    return tuple(choices)


def _backend(document: Document, entry: Any, loc: Loc) -> BackendChoice | None:
    named = isinstance(entry, dict) and "name" in entry
    name = entry["name"] if named else entry
    if not isinstance(name, str):
        message = f"found {shown(name)}; expected the name of a backend, or {{name: ..., options}}"
        document.report((*loc, "name"), message)
        return None
    options = {key: value for key, value in entry.items() if key != "name"} if named else {}
    choice = BackendChoice(name, options, _target(name, document.path.parent))
    message = _load_failure(choice)
    if message:
        option = _blamed(message, options)
        document.report((*loc, option or "name"), message, at_key=option is not None)
        return None
    return choice


def _blamed(message: str, options: Iterable[str]) -> str | None:
    """Return the option that a message quotes first, or else names first, if it does."""
    for pattern in ("'{}'", r"\b{}\b"):
        found = {key: re.search(pattern.format(re.escape(key)), message) for key in options}
        starts = {key: match.start() for key, match in found.items() if match}
        if starts:
            return min(starts, key=starts.__getitem__)
    return None


def _load_failure(choice: BackendChoice) -> str:
    """Return why a backend cannot be made, or nothing."""
    try:
        choice.load()
    except InputError as error:
        return str(error)
    except Exception as error:  # a plug-in may raise anything
        return f"{choice.name} cannot be made: {type(error).__name__}: {error}"
    return ""


def _target(name: str, folder: Path) -> str:
    """Let the path in ``path/to/file.py:ClassName`` start from the config's folder."""
    reference = split_reference(name)
    if reference is None:
        return name
    path, class_name = reference
    return f"{from_folder(folder, path)}:{class_name}"


def choose_backends(
    configured: Sequence[BackendChoice], names: Sequence[str]
) -> tuple[BackendChoice, ...]:
    """Return the backends named on the command line.

    Parameters
    ----------
    configured : sequence of BackendChoice
        Those of the config; the ones with a name that is asked for keep their options.
    names : sequence of str
        Values of ``--backend``. A path in one starts from the current folder.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    chosen: dict[str, list[BackendChoice]] = {}
    for name in names:
        chosen[name] = [choice for choice in configured if choice.name == name]
        if not chosen[name]:
            choice = BackendChoice(name, {}, name)
            message = _load_failure(choice)
            if message:
                raise InputError(f"--backend {name}: {message}")
            chosen[name] = [choice]
    return tuple(choice for choices in chosen.values() for choice in choices)


def check_names(document: Document, loc: Loc, kind: str, known: Sequence[str]) -> None:
    """Check that the text at `loc`, or each text of the list there, is one of the known names."""
    value: Any = document.data
    for key in loc:
        value = value.get(key) if isinstance(value, dict) else None
    for index, name in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(name, str) and name not in known:
            document.report((*loc, index), unknown_name(kind, name, known))
