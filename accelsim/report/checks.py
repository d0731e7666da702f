"""The outcomes of the conformance kit as a table, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from accelsim.report.formats import Format
from accelsim.report.tables import render
from gemm_backends import GemmBackend, Outcome
from gemm_backends.conformance import CHECKS, routes
from gemm_backends.conformance.causes import followers
from gemm_backends.types import Status

_WIDE = 120
"""Terminal width from which on the table describes each check."""

ROUTE_CHECKS = {check.name for check in routes.CHECKS}
TITLES = {check.name: check.title for check in CHECKS}


def checks_table(backend: GemmBackend, found: Sequence[Outcome], style: Format, width: int) -> str:
    """Return the outcomes of checks in a format.

    Parameters
    ----------
    backend : GemmBackend
        What was checked.
    found : sequence of Outcome
        The outcomes in their order.
    style : Format
        A ``table`` has the settings above it, and the failures and counts below.
    width : int
        Of the terminal.

    Returns
    -------
    str
        The text, with a line end.
    """
    following = followers(found)
    shown = folded(found) if style == "table" else found
    rows = [_row(outcome, following.get(outcome.name)) for outcome in shown]
    if style != "table":
        return render(rows, None, style)
    hidden = {"may_follow_from", *([] if width >= _WIDE else ["what_must_hold"])}
    columns = [name for name in rows[0] if name not in hidden]
    table = render(rows, columns, style, labels=len(columns), width=width)
    return _explained(backend, found, table)


def folded(found: Sequence[Outcome]) -> list[Outcome]:
    """Put the checks of fused routes on one line if all are skipped for one reason."""
    of_routes = [outcome for outcome in found if outcome.name in ROUTE_CHECKS]
    if not of_routes or {(outcome.status, outcome.detail) for outcome in of_routes} != {
        ("skipped", of_routes[0].detail)
    }:
        return list(found)
    whole = Outcome(
        f"route_* ({len(of_routes)})",
        "skipped",
        of_routes[0].detail,
        sum(outcome.seconds for outcome in of_routes),
    )
    first = found.index(of_routes[0])
    rest = [outcome for outcome in found[first:] if outcome not in of_routes]
    return [*found[:first], whole, *rest]


def _row(outcome: Outcome, root: str | None) -> dict[str, Any]:
    """Return a row; one whose failure may follow from that of `root` has its name."""
    return {
        "check": outcome.name,
        "what_must_hold": TITLES.get(outcome.name, ""),
        "result": outcome.status,
        "may_follow_from": root,
        "found": outcome.detail,
        "ms": outcome.seconds * 1e3,
    }


def _explained(backend: GemmBackend, found: Sequence[Outcome], table: str) -> str:
    """Put what was checked above the table, and the failures and the counts below it."""
    parts = [f"{heading(backend)}\n", table]
    following = followers(found)
    for outcome in found:
        if outcome.status == "failed" and outcome.name not in following:
            title = f": {TITLES[outcome.name]}" if outcome.name in TITLES else ""
            words = f"{outcome.name} failed{title}\n  {outcome.detail}\n"
            others = [name for name, root in following.items() if root == outcome.name]
            if others:
                words += f"  May follow from it, so mend it first: {', '.join(others)}\n"
            parts.append(words)
    return "\n".join([*parts, f"{counted(found)}\n"])


def heading(backend: GemmBackend) -> str:
    """Name the backend with its options, its widths and its accumulator."""
    settings = ", ".join(f"{key}={value}" for key, value in backend.options.items())
    a, b = backend.operand_bits
    accumulator = backend.accumulator
    return (
        f"{backend.name}({settings}): {a} x {b} bits, "
        f"{accumulator.bits}-bit accumulator, overflow: {accumulator.overflow}"
    )


def counted(found: Sequence[Outcome]) -> str:
    """Say how many checks passed, failed and were skipped."""
    statuses = [outcome.status for outcome in found]
    return ", ".join(f"{statuses.count(status)} {status}" for status in get_args(Status))
