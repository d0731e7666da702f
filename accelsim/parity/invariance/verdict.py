"""What a level's outcomes come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.parity.invariance.measuring import INTEGERS, WayOutcome


@dataclass(frozen=True)
class LevelVerdict:
    """Whether a level holds.

    Parameters
    ----------
    level : int
        The level.
    holds : bool
        Whether all of its ways, and those of the levels below, ran and gave the same bits.
    reasons : tuple of str
        Why not.
    """

    level: int
    holds: bool
    reasons: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """Return all fields as JSON types."""
        return {"level": self.level, "holds": self.holds, "reasons": list(self.reasons)}


def hashes(outcomes: Sequence[WayOutcome], arithmetic: str) -> int:
    """Return how many different results the ways of an arithmetic gave."""
    different = {
        outcome.sha256
        for outcome in outcomes
        if outcome.arithmetic == arithmetic and outcome.same is False
    }
    return 1 + len(different)


def verdict(outcomes: Sequence[WayOutcome], level: int) -> LevelVerdict:
    """Say whether the integers keep a level's promise.

    Parameters
    ----------
    outcomes : sequence of WayOutcome
        Of `measure`.
    level : {1, 2, 3}
        The level.
    """
    reasons: dict[str, None] = {}
    for outcome in outcomes:
        if outcome.arithmetic != INTEGERS or outcome.level > level:
            continue
        if outcome.unpinned:
            reasons[f"not pinned: {', '.join(outcome.unpinned)}"] = None
        if outcome.reason:
            reasons[f"{outcome.way} did not run: {outcome.reason}"] = None
        elif not outcome.same:
            where = f", first in {outcome.operator}" if outcome.operator else ""
            reasons[f"{outcome.way} gave other bits{where}"] = None
    return LevelVerdict(level, not reasons, tuple(reasons))
