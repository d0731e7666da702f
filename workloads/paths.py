"""Paths in a config."""

from __future__ import annotations

import os
from pathlib import Path


def from_folder(folder: Path, path: str | Path) -> Path:
    """Return `path` as seen from `folder`, with a leading ``~`` and every ``..`` taken out.

    A ``..`` that follows a symbolic link stays, since taking it out would name another file.
    """
    joined = folder / Path(path).expanduser()
    short = Path(os.path.normpath(joined))
    return short if short.resolve() == joined.resolve() else joined
