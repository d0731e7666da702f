"""The configs and descriptions of accelerators that come with the suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped_folder() -> Path:
    """Return the folder ``configs``: of the working tree, or of the installed package."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def shipped_files(kind: str = "") -> Mapping[str, Path]:
    """Return YAML files that come with the suite by their names, which have no suffix.

    Parameters
    ----------
    kind : str
        The folder below `shipped_folder`, such as ``accelerators``; configs by default.
    """
    return {path.stem: path for path in sorted((shipped_folder() / kind).glob("*.yaml"))}
