"""The folder for files that can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "ACCELSIM_CACHE"


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, created if need be.

    The cache is ``$ACCELSIM_CACHE``, or ``accelsim`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Parameters
    ----------
    *parts : str
        The folder's path in the cache.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get(CACHE_VARIABLE) or Path(home) / "accelsim", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
