"""A config file as written, with the changes from the command line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelsim.config.problems import Loc, Place, Places, Problem, config_error, dotted, shown
from accelsim.config.yaml_tree import parse_yaml
from accelsim.errors import InputError
from accelsim.plugins.registry import split_reference

PATH_KEYS = frozenset({"bundle", "model", "plan", "profile", "text"})
"""Keys whose value may be the name of a file or folder without a ``/`` or a suffix."""

MAX_BYTES = 1_000_000
"""The largest config file that is read."""


@dataclass
class Document:
    """The values of a config, where each stands, and what is wrong with them.

    Parameters
    ----------
    path : Path
        The config file.
    data : dict
        Its values, overrides included.
    places : Places
        Where each value and key stands.
    problems : list of Problem
        All that was found so far.
    """

    path: Path
    data: dict[str, Any]
    places: Places
    problems: list[Problem]

    def report(self, loc: Loc, message: str, *, at_key: bool = False) -> None:
        """Add a problem at the value (or the key) of `loc`, or at what encloses it."""
        known = self.places.known_part(loc)
        places = self.places.keys if at_key and known in self.places.keys else self.places.values
        self.problems.append(Problem(places[known], known, message))

    def at(self, loc: Loc) -> Any:
        """Return the value at `loc`, or None where there is none."""
        value: Any = self.data
        for key in loc:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    def raise_problems(self) -> None:
        """Raise one error that lists all problems, if there are any.

        Raises
        ------
        InputError
            With one line for each problem.
        """
        if self.problems:
            raise config_error(self.problems)


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read a config file and apply overrides to it, in their order.

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8, is not YAML, or is not a mapping, or an override
        does not fit it.
    """
    text = _read_text(path)
    tree = parse_yaml(text, lambda line, column: Place.in_file(path, line, column))
    if not isinstance(tree.data, dict):
        start = tree.places.values[()]
        message = f"found {shown(tree.data)}; expected a mapping such as `workloads: [...]`"
        raise config_error([Problem(start, (), message)])
    document = Document(path, tree.data, tree.places, tree.problems)
    for rank, override in enumerate(overrides, start=1):
        apply_override(document, override, rank)
    return document


def content_hash(values: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of JSON values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def apply_override(document: Document, override: str, rank: int) -> None:
    """Change one value: ``KEY=VALUE``, with a dotted key and the value in YAML.

    Keys that do not exist are added, list items must exist. A path in the value that exists from
    the working directory is meant from there; the config then has it from its own folder.

    Parameters
    ----------
    document : Document
        Changed in place.
    override : str
        Such as ``quantize.beta=[15, 31]`` or ``workloads.0.bundle=other.safetensors``.
    rank : int
        Orders the problems of several overrides.

    Raises
    ------
    InputError
        If it is not ``KEY=VALUE``, the value is not YAML, or the key leads into a scalar or past
        the end of a list.
    """
    place = Place(rank, 0, 0, f"--set {override}")
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        message = "expected KEY=VALUE, such as quantize.beta=[15, 31]"
        raise config_error([Problem(place, (), message)])
    tree = parse_yaml(text, lambda line, column: place)
    container: Any = document.data
    loc: Loc = ()
    for part in parts[:-1]:
        step = _step(container, part, loc, place)
        loc = (*loc, step)
        if isinstance(container, dict) and container.get(step) is None:
            container[step] = {}
        container = container[step]
    step = _step(container, parts[-1], loc, place)
    container[step] = _from_here(tree.data, step, document.path.parent)
    loc = (*loc, step)
    document.places.graft(loc, place, tree.places.values)
    document.problems += [replace(problem, loc=loc + problem.loc) for problem in tree.problems]


def _from_here(value: Any, key: str | int, folder: Path) -> Any:
    """Return a value in which paths that exist from the working directory start from `folder`."""
    if isinstance(value, dict):
        return {inner: _from_here(item, inner, folder) for inner, item in value.items()}
    if isinstance(value, list):
        return [_from_here(item, key, folder) for item in value]
    if not isinstance(value, str) or key == "output":
        return value
    reference = split_reference(value)
    if reference is not None:
        return f"{_relative(str(reference[0]), folder)}:{reference[1]}"
    is_path = key in PATH_KEYS or os.sep in value or (key != "name" and Path(value).suffix)
    return _relative(value, folder) if is_path else value


def _relative(path: str, folder: Path) -> str:
    """Return a path from `folder`, if it is relative and exists from the working directory."""
    if Path(path).is_absolute() or not Path(path).exists():
        return path
    return os.path.relpath(Path.cwd() / path, folder.resolve())


def _step(container: Any, part: str, loc: Loc, place: Place) -> str | int:
    """Return the key or index that `part` means in a container."""
    if isinstance(container, dict):
        return part
    if not isinstance(container, list):
        message = f"{dotted(loc)} is {shown(container)}, which has no key {part!r}"
    elif part.isdecimal() and int(part) < len(container):
        return int(part)
    else:
        message = f"{dotted(loc)} has {len(container)} items, counted from 0; found {part!r}"
    raise config_error([Problem(place, (), message)])


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a YAML file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: is too large; a config takes at most {MAX_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        place = Place.in_file(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"found the byte 0x{raw[error.start]:02x}, which is not UTF-8"
        raise config_error([Problem(place, (), message)]) from None
