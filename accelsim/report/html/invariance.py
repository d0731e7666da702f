"""The page of ``accelsim invariance``: which levels hold, and what gave other bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.report.cells import count, number, text
from accelsim.report.html.grid import Column, Grid
from accelsim.report.html.template import filled

DIGITS = 10
"""Digits of a hash that are shown."""

_ASKED = ("model", "prompts", "tokens", "beta", "percentile")
_MACHINE = ("torch", "machine", "processor")


def is_invariance(path: Path) -> bool:
    """Whether a path is a file that ``accelsim invariance --output`` may have written.

    Parameters
    ----------
    path : Path
        What a user named.
    """
    return path.suffix == ".json" and path.is_file()


def render_invariance(path: Path) -> str:
    """Return the page of one file.

    Parameters
    ----------
    path : Path
        What ``accelsim invariance --output`` wrote.

    Raises
    ------
    InputError
        If the file is another one.
    """
    found = _read(path)
    ways = found["outcomes"]
    last = found["levels"][-1]
    verdicts = [
        (level["holds"], f"Level {level['level']} {_words(level)}") for level in found["levels"]
    ]
    about = {
        "records": ways,
        "when": path.name,
        "asked": [(key, text(found[key])) for key in _ASKED if found.get(key) is not None],
        "machine": [(key, text(found[key])) for key in _MACHINE if found.get(key) is not None],
        "timing": "",
        "name": path.name,
    }
    return filled(
        "invariance.html.j2",
        title=f"{found['model']}: level {last['level']} {_held(last)}",
        runs=[about],
        verdicts=verdicts,
        counts=[
            (arithmetic, f"{results} different result{'s' if results > 1 else ''}")
            for arithmetic, results in found["hashes"].items()
        ],
        ways=Grid("ways", _COLUMNS, ways),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict) or not {"levels", "outcomes", "hashes", "model"} <= set(found):
        raise InputError(f"{path} is not what accelsim invariance --output writes")
    return found


def _held(level: Mapping[str, Any]) -> str:
    return "holds" if level["holds"] else "is not established"


def _words(level: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, [_held(level), "; ".join(level["reasons"])]))


def _same(way: Mapping[str, Any]) -> str:
    if way["same"] is None:
        return "not run"
    return "same" if way["same"] else "differs"


def _first(way: Mapping[str, Any]) -> str | None:
    if way["prompt"] is None:
        return None
    return f"prompt {way['prompt'] + 1}, token {way['token'] + 1}"


_COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("arithmetic", "", lambda way: way["arithmetic"], rank="always"),
    Column("way", "how the prompts ran", lambda way: way["way"], rank="always"),
    Column("level", "the level that promises the same bits", lambda way: way["level"], count),
    Column("tokens", "tokens whose logits were compared", lambda way: way["tokens"] or None, count),
    Column(
        "bits",
        "beside every prompt alone, in the same arithmetic",
        _same,
        rank="always",
    ),
    Column("SHA-256", "its first digits", lambda way: way["sha256"][:DIGITS] or None),
    Column("first difference", "", _first),
    Column("largest", "the largest difference of a logit", lambda way: way["largest"], number),
    Column(
        "operator",
        "the first operator whose output differs, or why the way did not run",
        lambda way: way["operator"] or way["reason"] or None,
    ),
    Column(
        "s", "seconds, the first use of everything included", lambda way: way["seconds"], number
    ),
]
