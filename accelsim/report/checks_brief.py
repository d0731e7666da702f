"""The outcomes of the conformance kit in few enough lines that none scrolls away."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from accelsim.report.cells import printable
from accelsim.report.checks import TITLES, counted, folded, heading
from gemm_backends import GemmBackend, Outcome
from gemm_backends.conformance.causes import followers

MOST_LINES = 30
"""Largest number of printed lines."""

_FRAME = 7
"""Lines of the heading, of the end, and empty ones between sections."""

_PASSED_LINES = 8
_CUT = " …"


def checks_brief(backend: GemmBackend, found: Sequence[Outcome], width: int) -> str:
    """Say what failed and why, what was skipped, what passed, and how many of each.

    Parameters
    ----------
    backend : GemmBackend
        What was checked.
    found : sequence of Outcome
        The outcomes in their order.
    width : int
        Columns of a line.

    Returns
    -------
    str
        At most `MOST_LINES` lines; the counts come last.
    """
    shown = folded(found)
    passed = [outcome for outcome in shown if outcome.status == "passed"]
    skipped = [outcome for outcome in shown if outcome.status == "skipped"]
    names = _wrapped(f"Passed: {', '.join(map(_passed, passed))}", width, _PASSED_LINES)
    room = MOST_LINES - _FRAME - (len(names) if passed else 0)
    failures = _failures(found, width, room - min(len(skipped), 2))
    reasons = [f"  {outcome.name}: {outcome.detail}" for outcome in skipped]
    left = room - len(failures) - 1
    if len(reasons) > left:
        reasons = [*reasons[: left - 1], f"  and {len(reasons) - left + 1} more"]
    cut = [line for reason in reasons for line in _wrapped(reason, width, 1)]
    sections = [
        names if passed else [],
        ["Skipped:", *cut] if skipped else [],
        failures,
        ["--details prints what each check found.", counted(found)],
    ]
    parts = [[heading(backend)], *(section for section in sections if section)]
    return "\n\n".join("\n".join(map(printable, part)) for part in parts) + "\n"


def _passed(outcome: Outcome) -> str:
    """Name what passed; what a backend's own flag did is told by its result."""
    own = outcome.name not in TITLES and not outcome.name.startswith("route_*")
    return f"{outcome.name} ({outcome.detail})" if own and outcome.detail else outcome.name


def _failures(found: Sequence[Outcome], width: int, room: int) -> list[str]:
    """Explain the roots of what failed, as many as there is room for, and name the others."""
    following = followers(found)
    roots = [o for o in found if o.status == "failed" and o.name not in following]
    lines: list[str] = []
    for number, root in enumerate(roots):
        others = [name for name, cause in following.items() if cause == root.name]
        block = explained(root, others, width)
        rest = [outcome.name for outcome in roots[number + 1 :]]
        if number and len(lines) + len(block) + (2 if rest else 0) > room:
            names = ", ".join([root.name, *rest])
            return lines + _wrapped(f"Failed too, with other errors: {names}", width, 2)
        lines += block
    return lines


def explained(root: Outcome, others: Sequence[str], width: int) -> list[str]:
    """Return the lines on one failure: what must hold, what was found, and what may follow."""
    title = f": {TITLES[root.name]}" if root.name in TITLES else ""
    lines = _wrapped(f"{root.name} failed{title}", width, 2)
    lines += _wrapped(f"  {root.detail}", width, 5)
    if others:
        words = f"  May follow from it, so mend it first: {', '.join(others)}"
        lines += _wrapped(words, width, 5)
    return lines


def _wrapped(words: str, width: int, most: int) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        subsequent_indent="  ",
        max_lines=most,
        placeholder=_CUT,
        break_on_hyphens=False,
    )
