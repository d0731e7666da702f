"""The Collaborative International Dictionary of English as plain text."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from accelsim.errors import InputError
from accelsim.files import make_once
from accelsim.kernels.cache import cache_folder
from workloads.models.corpora.debian import Package, fetch_package, files_of
from workloads.models.text import Text

PACKAGE = Package(
    name="dict-gcide",
    version="0.48.5+nmu2",
    sha256="7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
)

LICENSE = "GPL-2.0-or-later"

DICTIONARY_SHA256 = "802beb667e1fb666203e750f1faea60d5c202ac5430c2083c4180494609f10a7"
"""SHA-256 of the dictionary as the package has it, decompressed."""

TEXT_SHA256 = "545d66bc4a63147dca61b66f6f0c471f8950d342087b42570dffb3c609d71270"
"""SHA-256 of the plain text in UTF-8."""

NAME = "GCIDE 0.48 (Debian's dict-gcide 0.48.5+nmu2), as plain text"

_DICTIONARY = "gcide.dict.dz"


def fetch_gcide(
    given: Path | None = None, say: Callable[[str], None] = lambda message: None
) -> Path:
    """Return the file of the plain text, xz-compressed; make it if it is not there.

    Parameters
    ----------
    given : Path, optional
        The package's ``.deb`` file, a folder with it, or the ``gcide.dict.dz`` in it; by default
        apt downloads the package.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If it cannot be had, or a hash is another.
    """

    def fill(path: Path) -> None:
        dictionary = _dictionary(path.parent, given, say)
        _check(dictionary, DICTIONARY_SHA256, "the dictionary")
        say("making plain text of it")
        text = plain_text(dictionary.decode("ascii", errors="ignore")).encode()
        _check(text, TEXT_SHA256, "the plain text")
        path.write_bytes(lzma.compress(text, preset=1))

    return make_once(_path(), fill)


def gcide() -> Text:
    """Return the plain text.

    Raises
    ------
    InputError
        If it was not fetched, or the file was changed.
    """
    path = _path()
    if not path.is_file():
        raise InputError(
            f"the text gcide is not in the cache ({path}); get it by "
            "`accelsim workloads fetch gcide`"
        )
    try:
        content = lzma.decompress(path.read_bytes())
    except lzma.LZMAError as error:
        raise InputError(f"{path}: cannot be decompressed: {error}") from error
    _check(content, TEXT_SHA256, f"the text in {path}")
    return Text(NAME, content.decode())


def plain_text(dictionary: str) -> str:
    """Make plain English of the dictionary's own notation.

    What is left out: the notices in front, pronunciation and etymology of the headwords, names of
    sources and remarks in brackets. Letters with accents, which the dictionary spells in brackets,
    become plain ones. A paragraph becomes one line, and an empty line is between entries. Entries
    are in the order of their SHA-256, so that each part of the text is like any other.

    Parameters
    ----------
    dictionary : str
        As dictd has it: headwords start in the first column, what is said of them is indented.
    """
    entries = filter(None, map(_entry, _entries(dictionary)))
    ordered = sorted(entries, key=lambda entry: hashlib.sha256(entry.encode()).digest())
    return "\n\n".join(ordered) + "\n"


def _path() -> Path:
    return cache_folder("corpora") / f"gcide-{TEXT_SHA256[:16]}.txt.xz"


def _dictionary(folder: Path, given: Path | None, say: Callable[[str], None]) -> bytes:
    if given is not None and given.name.endswith(_DICTIONARY):
        packed = given.read_bytes()
    else:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            content = fetch_package(PACKAGE, Path(temporary), given, say)
        found = [x for name, x in files_of(content, PACKAGE.name) if name.endswith(_DICTIONARY)]
        if len(found) != 1:
            raise InputError(f"{PACKAGE.name}: has {len(found)} files {_DICTIONARY}; expected one")
        packed = found[0]
    try:
        return gzip.decompress(packed)  # dictzip is gzip
    except (OSError, EOFError) as error:
        raise InputError(f"{given or PACKAGE.name}: cannot be decompressed: {error}") from error


def _check(content: bytes, expected: str, what: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise InputError(f"{what} has SHA-256 {digest}; expected {expected}")


_HEADWORD = re.compile(r"^\S[^\n]*\\[^\n]*$", re.MULTILINE)
_PRONUNCIATION = re.compile(r"\\[^\\]*\\(?: *\((?:[^()]|\([^()]*\))*\))?")
_ACCENTED = re.compile(
    r"\[(?:[.,=^~'`\"*-]+([A-Za-z]{1,2})|([A-Za-z]{1,2}?)(?:[\^'`~\"]|um|mac))\]"
)
_JOINED = re.compile(r"\[(ae|oe|AE|OE|ng|th)\]")
_BRACKETS = re.compile(r" ?\[[^\[\]]*\]")
_SPACES = re.compile(r"[ \n]+")


def _entries(dictionary: str) -> Iterator[str]:
    """Yield the entries: from each headword to the next."""
    starts = [found.start() for found in _HEADWORD.finditer(dictionary)]
    for start, end in zip(starts, [*starts[1:], len(dictionary)], strict=True):
        yield dictionary[start:end]


def _entry(entry: str) -> str:
    head, _, rest = entry.partition("\n\n")
    paragraphs = [_PRONUNCIATION.sub("", head), *rest.split("\n\n")]
    lines = (_plain(paragraph) for paragraph in paragraphs)
    return "\n".join(line for line in lines if any(map(str.isalpha, line)))


def _plain(paragraph: str) -> str:
    text = _JOINED.sub(r"\1", paragraph)
    text = _ACCENTED.sub(lambda found: found[1] or found[2], text)
    for _ in range(3):  # brackets within brackets
        text = _BRACKETS.sub("", text)
    text = text.replace("{", "").replace("}", "")
    return _SPACES.sub(" ", text).replace(" ,", ",").replace(" .", ".").strip()
