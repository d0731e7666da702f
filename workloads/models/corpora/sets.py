"""The data that `accelsim workloads fetch` knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workloads.models.corpora import gcide, glyphs

Say = Callable[[str], None]


@dataclass(frozen=True)
class DataSet:
    """Data that are made from packages of Debian and cached.

    Parameters
    ----------
    about, license : str
        What they are, and their licence.
    fetch : callable
        Called with a file or folder to use instead of a download, or None, and with what is called
        with what is being done; returns the file in the cache.
    """

    about: str
    license: str
    fetch: Callable[[Path | None, Say], Path]


SETS: dict[str, DataSet] = {
    "gcide": DataSet("an English dictionary as plain text", gcide.LICENSE, gcide.fetch_gcide),
    "glyphs": DataSet("letters and digits in many fonts", glyphs.LICENSE, glyphs.fetch_glyphs),
}
"""All of them by name."""
