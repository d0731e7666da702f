"""Write a new package from a template.

A template is a real package, whose names are replaced throughout: ``my-accelerator``,
``my_accelerator`` and ``MyAccelerator``.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Collection, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from accelsim.errors import InputError

KINDS = {
    "python": "a model in Python",
    "c": "a C library, called through ctypes",
    "cuda": "a CUDA kernel",
}
"""The templates, and what the backend of each is."""


def write_package(name: str, kind: str, folder: Path, taken: Collection[str]) -> Sequence[Path]:
    """Write a package that provides a backend.

    Parameters
    ----------
    name : str
        Name of the backend and of the package.
    kind : str
        One of `KINDS`.
    folder : Path
        Where to write it; made if it does not exist.
    taken : collection of str
        Names that backends have already.

    Returns
    -------
    sequence of Path
        The files, relative to `folder`.

    Raises
    ------
    InputError
        If the name cannot be one or is taken, or the folder is not empty or cannot be written.
    """
    _check_name(name, taken)
    module = name.replace("-", "_")
    replacements = {
        "my-accelerator": name,
        "my_accelerator": module,
        "MyAccelerator": "".join(word.capitalize() for word in name.split("-")),
    }
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; --output names another folder")
    written = []
    try:
        for path, text in _template(files("accelsim.plugins") / "templates" / kind):
            target = Path(_replaced(str(path), replacements))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_text(_replaced(text, replacements))
            written.append(target)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    return written


def _check_name(name: str, taken: Collection[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} cannot be the name of a backend and of a package; write lower-case letters "
            "and digits, words joined by hyphens, such as my-array"
        )
    if name in taken:
        raise InputError(f"the backend name {name!r} is already taken")
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is not None and spec.origin is not None:  # a folder without modules has none
        raise InputError(f"a module {name.replace('-', '_')!r} is already there; choose another")


def _template(folder: Traversable, inside: Path = Path()) -> Sequence[tuple[Path, str]]:
    """Return the files of a template with their texts, in the order of their names."""
    found: list[tuple[Path, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = inside / entry.name
        if entry.is_dir():
            found += [] if entry.name == "__pycache__" else _template(entry, path)
        elif not entry.name.endswith((".so", ".pyc")):
            found.append((path, entry.read_text(encoding="utf-8")))
    return found


def _replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
