"""Configs by name: those that come with the suite, and copies of them to start from."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.shipped import shipped_files, shipped_folder

SUFFIXES = (".yaml", ".yml")

MODELINE = "# yaml-language-server: $schema="
"""The first line of a config, by which editors know its keys."""


def find_config(path: str | Path) -> Path:
    """Return the file that a command line names: a path, or the name of a shipped config.

    A file comes before a name.

    Raises
    ------
    InputError
        If there is no such file, and the name is like that of a shipped config.
    """
    path = Path(path)
    shipped = shipped_files()
    if path.exists():
        return path
    is_name = path.name == str(path) and path.suffix not in SUFFIXES
    if is_name and path.name in shipped:
        return shipped[path.name]
    if is_name:
        message = unknown_name("shipped config", path.name, shipped)
        raise InputError(f"{path}: there is no such file; {message}")
    if path.suffix in SUFFIXES and path.stem in shipped:
        raise InputError(
            f"{path}: there is no such file; the config that comes with accelsim goes by its name: "
            f"{path.stem}"
        )
    return path


def describe_config(path: Path) -> str:
    """Return the first sentence of a config's comment, which says what it is for."""
    lines = path.read_text("utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines if not line.startswith(MODELINE)]
    paragraph = " ".join(takewhile(bool, comment))
    return re.split(r"(?<=[.?]) ", paragraph, maxsplit=1)[0]


def copied_config(name: str, target: Path) -> str:
    """Return the text of a shipped config as it reads in another file.

    Commands in its comments name that file, and its first line the schema of this installation.

    Parameters
    ----------
    name : str
        Of the config.
    target : Path
        The file that the text is for.

    Raises
    ------
    InputError
        If there is no such config.
    """
    shipped = shipped_files()
    if name not in shipped:
        raise InputError(unknown_name("shipped config", name, shipped))
    text = shipped[name].read_text("utf-8")
    text = re.sub(rf"\bconfigs/{re.escape(name)}\.yaml\b", lambda _: str(target), text)
    schema = re.escape(MODELINE) + r"(?!/)"
    return re.sub(f"^{schema}", lambda _: f"{MODELINE}{shipped_folder()}/", text)
