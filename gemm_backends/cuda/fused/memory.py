"""The plans that a route goes on with, and how often they were exceeded."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from gemm_backends.cuda.fused.plan import Plan

CALM = 64
"""So many runs in a row that fit their plan make up for one that did not."""


@dataclass
class _Entry:
    plan: Plan
    exceeded: int = 0
    calm: int = 0


class PlanMemory:
    """Plans by what they are for.

    Every plan that is exceeded makes the next one roomier, until planes are taken. So that a few
    odd operands do not slow down all that follow, calm runs take that back, one step at a time, and
    in the end the plan is forgotten and made anew.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def get(self, key: Hashable) -> Plan | None:
        """Return the plan to begin with, or None where nothing is known."""
        entry = self._entries.get(key)
        return entry.plan if entry else None

    def exceeded(self, key: Hashable) -> int:
        """Return how many plans were exceeded lately."""
        entry = self._entries.get(key)
        return entry.exceeded if entry else 0

    def keep(self, key: Hashable, plan: Plan, exceeded: bool) -> None:
        """Take note of the plan by which a run was exact.

        Parameters
        ----------
        key : hashable
            What it is for.
        plan : Plan
            The plan.
        exceeded : bool
            Whether the one that the run began with was exceeded.
        """
        entry = self._entries.setdefault(key, _Entry(plan))
        entry.plan = plan
        if exceeded:
            entry.exceeded, entry.calm = entry.exceeded + 1, 0
            return
        entry.calm += 1
        if entry.calm == CALM:
            entry.exceeded, entry.calm = entry.exceeded - 1, 0
            if entry.exceeded == 0:
                del self._entries[key]
            entry.exceeded = max(0, entry.exceeded)
