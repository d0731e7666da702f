"""English text that is the same on every machine."""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass
from pathlib import Path

from accelsim.errors import InputError

_SHIPPED = Path(__file__).parents[1] / "data" / "pydoc-topics.txt.xz"

SHIPPED_SHA256 = "71f2ff5d99bdc1f9c48c5c2353ad138201c5ca1c377e0226857ef8fa89b8bcee"
"""SHA-256 of the shipped text in UTF-8."""


@dataclass(frozen=True)
class Text:
    """A text and what a bundle says of it.

    Parameters
    ----------
    name : str
        Where it comes from.
    content : str
        All of it.
    """

    name: str
    content: str

    @property
    def source(self) -> dict[str, str]:
        """Its name and the SHA-256 of its UTF-8 bytes, for a bundle or a result."""
        digest = hashlib.sha256(self.content.encode()).hexdigest()
        return {"text": self.name, "text_sha256": digest}


def shipped_text() -> Text:
    """Return all topics of Python's own documentation, 465,126 characters.

    They are ``pydoc_data.topics`` of CPython 3.11.7 (PSF licence), sorted by key and joined by
    blank lines. Every Python version has its own, so this one ships.
    """
    text = Text(
        "pydoc_data.topics of CPython 3.11.7", lzma.decompress(_SHIPPED.read_bytes()).decode()
    )
    if text.source["text_sha256"] != SHIPPED_SHA256:
        raise InputError(f"{_SHIPPED}: was changed; its text has another SHA-256 than the original")
    return text


def read_text(path: Path | None) -> Text:
    """Read a UTF-8 text file, or return the shipped text where there is no path.

    Raises
    ------
    InputError
        If the file cannot be read as UTF-8.
    """
    if path is None:
        return shipped_text()
    try:
        return Text(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
