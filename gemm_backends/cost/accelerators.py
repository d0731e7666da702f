"""Accelerators by name: files that describe an array and its memories as the emulator's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.shipped import shipped_files

MODEL = "emulator"
"""The backend that takes the descriptions."""

FOLDER = "accelerators"
"""Where named accelerators lie, below the shipped configs."""


def list_accelerators() -> list[str]:
    """Return the names of the accelerators that come with the suite."""
    return list(shipped_files(FOLDER))


def accelerator_options(name: str, folder: Path) -> dict[str, Any]:
    """Return the emulator's options that describe an accelerator.

    Parameters
    ----------
    name : str
        A name, or the path of a YAML file.
    folder : Path
        Where a relative path starts from.

    Raises
    ------
    InputError
        If there is no such name or file, or the file does not hold a mapping.
    """
    path = accelerator_path(name, folder)
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"accelerator {name!r} cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"
        raise InputError(
            f"accelerator {name!r} is no YAML: {path}{where}: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"accelerator {name!r} is no YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold a mapping of options of the emulator")
    return content


def accelerator_path(name: str, folder: Path) -> Path:
    """Return the file that describes an accelerator; `accelerator_options` has the parameters.

    Raises
    ------
    InputError
        If there is no such name.
    """
    if name.endswith((".yaml", ".yml")):
        return folder / Path(name).expanduser()
    shipped = shipped_files(FOLDER)
    if name not in shipped:
        raise InputError(unknown_name("accelerator", name, shipped))
    return shipped[name]
