"""Letters and digits in the fonts that Debian packages, drawn as small grey images."""

from __future__ import annotations

import hashlib
import io
import string
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import yaml
from torch import Tensor

from accelsim.errors import InputError
from accelsim.files import make_once
from accelsim.kernels.cache import cache_folder
from accelsim.plugins.extras import need
from workloads.models.corpora.debian import Package, fetch_package, files_of

SIDE = 32
"""Pixels of the side of an image."""

CLASSES = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""What is drawn; a label is an index."""

LICENSE = "the fonts': each package's own, all free (main of Debian)"

_LIST = Path(__file__).with_name("fonts.yaml")

_SIZE = 26
"""Of a font in pixels, unless some of its glyphs do not fit."""

_NOWHERE = "\U0010fff0"
"""A character of private use, which no font draws."""

Images = np.ndarray[Any, np.dtype[np.uint8]]


class FontPackage(Package):
    """A package of fonts.

    Parameters
    ----------
    held_out : bool
        Whether its fonts are those of the test set.
    """

    held_out: bool = False


@dataclass(frozen=True)
class Glyphs:
    """Images ``[N, 1, 32, 32]`` from 0 to 1 and their labels, of training and of the test.

    Parameters
    ----------
    train, held_out : tuple of Tensor
        float32 images and int64 labels; no package of fonts is in both.
    source : dict
        What they are, for a result.
    """

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    source: dict[str, Any]


def font_packages() -> list[FontPackage]:
    """Return the packages whose fonts are drawn."""
    return [FontPackage(**entry) for entry in yaml.safe_load(_LIST.read_text(encoding="utf-8"))]


def fetch_glyphs(
    given: Path | None = None, say: Callable[[str], None] = lambda message: None
) -> Path:
    """Return the file of the images; draw them if it is not there.

    Parameters
    ----------
    given : Path, optional
        A folder with the packages' ``.deb`` files; by default apt downloads them.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If a package cannot be had or has another hash, or Pillow is not installed.
    """
    need("PIL", "models")

    def fill(path: Path) -> None:
        np.savez_compressed(path, **_drawn(path.parent, given, say))

    return make_once(_path(), fill)


def glyphs() -> Glyphs:
    """Return the images.

    Raises
    ------
    InputError
        If they were not fetched, or the file cannot be read.
    """
    path = _path()
    if not path.is_file():
        raise InputError(
            f"the images glyphs are not in the cache ({path}); get them by "
            "`accelsim workloads fetch glyphs`"
        )
    digest = hashlib.sha256()
    sets: dict[str, tuple[Tensor, Tensor]] = {}
    try:
        with np.load(path) as file:
            for name in ("train", "held_out"):
                images, labels = file[f"{name}_images"], file[f"{name}_labels"]
                digest.update(images.tobytes() + labels.tobytes())
                grey = torch.from_numpy(images)[:, None].float() / 255
                sets[name] = grey, torch.from_numpy(labels.astype(np.int64))
            fonts = int(file["fonts"].size)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read: {error}; remove it and fetch it again"
        ) from error
    source = {
        "data": f"letters and digits of {fonts} fonts of Debian",
        "images_sha256": digest.hexdigest(),
    }
    return Glyphs(**sets, source=source)


def draw(font: bytes) -> Images | None:
    """Draw all of `CLASSES` in a font, each by its baseline and of the font's own relative size.

    Parameters
    ----------
    font : bytes
        Of a TrueType or OpenType file.

    Returns
    -------
    ndarray or None
        uint8 ``[62, 32, 32]``, white on black; None if the font has not all of them, or the same
        glyph for several of another kind, as fonts of symbols and capitals have.
    """
    image_font = need("PIL.ImageFont", "models")
    layout = image_font.Layout.BASIC
    try:
        loaded = image_font.truetype(io.BytesIO(font), _SIZE, layout_engine=layout)
        size = _SIZE * min(1.0, (SIDE - 2) / _extent(loaded))
        loaded = image_font.truetype(io.BytesIO(font), int(size), layout_engine=layout)
        _, top, _, bottom = loaded.getbbox(CLASSES, anchor="ls")
        baseline = (SIDE - bottom - top) // 2
        images = np.stack([_image(loaded, letter, baseline) for letter in CLASSES])
        missing = _image(loaded, _NOWHERE, baseline)
    except (OSError, ValueError):
        return None
    distinct = len(np.unique(images, axis=0)) == len(CLASSES)
    drawn = images.any((1, 2)).all() and not (images == missing).all((1, 2)).any()
    return images if distinct and drawn else None


def _path() -> Path:
    digest = hashlib.sha256(_LIST.read_bytes()).hexdigest()[:16]
    return cache_folder("corpora") / f"glyphs-{digest}.npz"


def _drawn(folder: Path, given: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    images: dict[bool, list[Images]] = {False: [], True: []}
    names: list[str] = []
    for package in font_packages():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            content = fetch_package(package, Path(temporary), given, say)
        for name, font in _fonts(content, package.name):
            drawn = draw(font)
            if drawn is not None:
                images[package.held_out].append(drawn)
                names.append(f"{package.name}/{name}")
    found: dict[str, Any] = {"fonts": np.array(names)}
    for held_out, name in ((False, "train"), (True, "held_out")):
        stacked = np.concatenate(images[held_out])
        labels = np.tile(np.arange(len(CLASSES), dtype=np.uint8), len(images[held_out]))
        found |= {f"{name}_images": stacked, f"{name}_labels": labels}
    say(f"{len(names)} fonts, {len(names) * len(CLASSES):,} images")
    return found


def _fonts(content: bytes, package: str) -> Iterator[tuple[str, bytes]]:
    """Yield the fonts of a package by their names, each but once though it has several formats."""
    files = {Path(name): font for name, font in files_of(content, package)}
    seen = set()
    for path in sorted(files, key=lambda path: (path.suffix != ".ttf", str(path))):
        if path.suffix in (".ttf", ".otf") and path.stem not in seen:
            seen.add(path.stem)
            yield path.name, files[path]


def _extent(font: Any) -> int:
    """Return the larger of the height of all glyphs together and the width of the widest."""
    _, top, _, bottom = font.getbbox(CLASSES, anchor="ls")
    boxes = [font.getbbox(letter, anchor="ls") for letter in CLASSES]
    return int(max(bottom - top, *(right - left for left, _, right, _ in boxes)))


def _image(font: Any, letter: str, baseline: int) -> Images:
    """Draw a letter in the middle of an image."""
    image = need("PIL.Image", "models").new("L", (SIDE, SIDE))
    left, _, right, _ = font.getbbox(letter, anchor="ls")
    at = ((SIDE - right - left) // 2, baseline)
    need("PIL.ImageDraw", "models").Draw(image).text(at, letter, 255, font=font, anchor="ls")
    return np.asarray(image, dtype=np.uint8)
