"""The share of a model's multiplications that was in integers, and what stayed in floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

WARN_BELOW = 0.99
"""Without a demand, less than this share is a warning; GEMMs that were not chosen do not count."""

_COUNTS = (
    "dense_macs",
    "not_chosen_macs",
    "skipped_macs",
    "skipped_unknown",
    "checked",
    "inexact",
    "overflows",
)


def add_tally(sums: dict[str, Any], tally: Mapping[str, Any]) -> dict[str, Any]:
    """Add the counts of a tally's summary that tell coverage and exactness to those of others.

    Parameters
    ----------
    sums : dict
        What this function returned before; empty at first.
    tally : mapping
        See `accelsim.integer_mode.Tally.summary`.
    """
    found: dict[str, Any] = {name: (sums.get(name) or 0) + (tally[name] or 0) for name in _COUNTS}
    if not found["checked"]:
        found["checked"] = found["inexact"] = None
    found["skipped"] = dict(Counter(sums.get("skipped", {})) + Counter(tally["skipped"]))
    whole = found["dense_macs"] + found["not_chosen_macs"] + found["skipped_macs"]
    found["coverage"] = found["dense_macs"] / whole if whole else None
    return found


def left_in_floats(tally: Mapping[str, Any]) -> str:
    """Describe what stayed in floats without being excluded; empty if nothing did."""
    skipped = tally.get("skipped", {})
    if not skipped:
        return ""
    whole = tally["dense_macs"] + tally["not_chosen_macs"] + tally["skipped_macs"]
    share = f"{tally['skipped_macs'] / whole:.2%}" if whole else "all"
    unknown = tally["skipped_unknown"]
    calls = f" and {unknown} calls of unknown size" if unknown else ""
    reasons = ", ".join(f"{reason} ({count} times)" for reason, count in skipped.items())
    return f"{share} of the multiplications{calls} were left in floats: {reasons}"


def shortfall(tally: Mapping[str, Any], required: float | None) -> str:
    """Return what is wrong with the coverage of a run; empty if nothing is.

    Parameters
    ----------
    tally : mapping
        See `accelsim.integer_mode.Tally.summary`; empty for what was not in integers.
    required : float or None
        The share of all multiplications that has to be in integers. Calls with an unknown number of
        multiplications fail any demand. None: no share is demanded, and a warning is due where less
        than `WARN_BELOW` of what was chosen is in integers.
    """
    if tally.get("coverage") is None:
        return ""
    covered, left = tally["coverage"], left_in_floats(tally)
    if required is None:
        chosen = tally["dense_macs"] + tally["skipped_macs"]
        enough = not tally["skipped_unknown"] and tally["dense_macs"] >= WARN_BELOW * chosen
        return "" if enough else left
    if covered >= required and not tally["skipped_unknown"]:
        return ""
    others = tally["not_chosen_macs"]
    parts = [left, f"{others} multiplications were not chosen" if others else ""]
    why = "; ".join(part for part in parts if part)
    return (
        f"{covered:.2%} of the multiplications were in integers, {required:.2%} is required: {why}"
    )
