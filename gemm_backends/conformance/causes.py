"""Which failure of the kit is a root, and which ones may only follow from it."""

from __future__ import annotations

from collections.abc import Sequence

from gemm_backends.actions import Outcome

PRODUCT = "product"
"""The cause of a check that got a wrong number where it compared products."""

ACCUMULATOR = "accumulator"
"""The cause of a check that found a register narrower than claimed, while products of two digits
are right."""

SIMPLEST = ("small_shapes", "extreme_digits", "odd_shapes", "tile_edges")
"""The checks whose wrong products say most plainly what is wrong, the plainest first."""


def raised(error: BaseException) -> str:
    """Return the cause of a check in which the backend raised an error: the error's type."""
    return f"raised {type(error).__name__}"


def followers(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Tell which failures may be nothing but the consequence of another one.

    A wrong product fails nearly every check, since they all compare products; a backend that always
    raises fails them all with the same error. The root of wrong products is the accumulator where
    it was identified, else one of `SIMPLEST`, else the first check that saw one.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of `verify`, in its order.

    Returns
    -------
    dict of str
        Name of each check whose failure may follow from another, and the name of that one.
    """
    roots: dict[str, str] = {}
    failed = [outcome for outcome in outcomes if outcome.status == "failed" and outcome.cause]
    for outcome in sorted(failed, key=_complexity):
        roots.setdefault(_group(outcome), outcome.name)
    found = {outcome.name: roots[_group(outcome)] for outcome in failed}
    return {name: root for name, root in found.items() if name != root}


def _complexity(outcome: Outcome) -> tuple[bool, int]:
    place = SIMPLEST.index(outcome.name) if outcome.name in SIMPLEST else len(SIMPLEST)
    return outcome.cause != ACCUMULATOR, place


def _group(outcome: Outcome) -> str:
    return PRODUCT if outcome.cause == ACCUMULATOR else outcome.cause
