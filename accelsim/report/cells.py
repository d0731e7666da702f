"""The text of one value in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.measure.ratios import TimeRatio

MISSING = "–"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
_SMALL = {-4: "p", -3: "n", -2: "µ", -1: "m", 1: "k", 2: "M", 3: "G"}


def column(values: Sequence[Any]) -> list[str]:
    """Return the texts of a column: numbers to 4 digits, yes or no, a dash for None."""
    whole = all(value.is_integer() for value in values if isinstance(value, float))
    return [_cell(value, whole) for value in values]


def _cell(value: Any, whole: bool) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and whole):
        return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return printable(text(value))


def text(value: Any) -> str:
    """Return a setting as one word or a few: ``8/4`` for a pair of A and B, ``key=value`` pairs."""
    if isinstance(value, Mapping):
        if set(value) == {"a", "b"}:
            return f"{text(value['a'])}/{text(value['b'])}"
        return " ".join(f"{key}={text(item)}" for key, item in value.items())
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def printable(words: str) -> str:
    """Escape line breaks and control characters, which would break a table or a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in words
    )


def number(value: float) -> str:
    """Return a number with 4 significant digits, with an exponent only where it is far from 1."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 9:
        return f"{value:.3e}"
    return f"{value:,.{max(0, 3 - magnitude)}f}"


def milliseconds(value: float) -> str:
    """Return a time in ms with about 3 digits, and never fewer than the microsecond shows."""
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def count(value: int) -> str:
    """Return a count with 3 digits and a decimal prefix, such as ``1.23G``; exact below 1000."""
    if value < 1000:
        return str(value)
    thousands = (len(str(value)) - 1) // 3
    scaled = value / 1000**thousands
    if scaled >= 999.5:
        thousands, scaled = thousands + 1, scaled / 1000
    if thousands >= len(_PREFIXES):
        return f"{value:.2e}"
    decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{decimals}f}{_PREFIXES[thousands]}"


def prefixed(value: float, unit: str) -> str:
    """Return a quantity with 3 digits and a decimal prefix, such as ``165 µs``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    thousands = max(-4, min(3, math.floor(math.log10(abs(value)) / 3)))
    scaled = value / 1000**thousands
    if abs(scaled) >= 999.5 and thousands < 3:
        thousands, scaled = thousands + 1, scaled / 1000
    return f"{scaled:#.3g}".rstrip(".") + f" {_SMALL.get(thousands, '')}{unit}"


def ratio(value: float) -> str:
    """Return an unpack ratio with 3 decimals, from 10 on with 2."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}"


def speedup(value: float) -> str:
    """Return a speed-up with 2 decimals, below 0.1 with 3, and never as 0 unless it is."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def time_ratio(ratio: TimeRatio | None) -> str:
    """Return a ratio of times, with a tilde if it is approximate; a dash if it is not a result."""
    if ratio is None or ratio.value is None:
        return MISSING
    return f"{'~' if ratio.approximate else ''}{speedup(ratio.value)}"
