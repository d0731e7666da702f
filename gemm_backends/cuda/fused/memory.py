"""What a route remembers from run to run: its plans, and the buffers that it made for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gemm_backends.cuda.fused.plan import Plan

MOST_BYTES = 2 << 30
"""Bytes of buffers that a route keeps, so that each of a model's weights finds its own again."""

FEWEST = 8
"""So many are kept, however large they are."""

CALM = 64
"""This many consecutive runs that fit their plan make up for one that did not."""


@dataclass
class _Entry:
    plan: Plan
    exceeded: int = 0
    calm: int = 0


class PlanMemory:
    """Plans by their use.

    Every plan that is exceeded makes the next one roomier, until planes are taken. So that a few
    unusual operands do not slow down all later runs, runs that fit undo this step by step, and
    finally a new plan is made.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def get(self, key: Hashable) -> Plan | None:
        """Return the plan to begin with, or None if there is none."""
        entry = self._entries.get(key)
        return entry.plan if entry else None

    def exceeded(self, key: Hashable) -> int:
        """Return how many plans were exceeded recently."""
        entry = self._entries.get(key)
        return entry.exceeded if entry else 0

    def keep(self, key: Hashable, plan: Plan, exceeded: bool) -> None:
        """Record the plan with which a run was exact.

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


class Sized(Protocol):
    """Something that holds memory."""

    @property
    def nbytes(self) -> int:
        """How many bytes."""


K = TypeVar("K")
S = TypeVar("S", bound=Sized)


def trim(kept: OrderedDict[K, S], most: int = MOST_BYTES, fewest: int = FEWEST) -> None:
    """Drop the least recently used, until the rest is small enough or few.

    Parameters
    ----------
    kept : OrderedDict
        The one that was used last is at the end.
    most : int
        Bytes that all of them may hold.
    fewest : int
        How many may stay whatever they hold.
    """
    total = sum(x.nbytes for x in kept.values())
    while len(kept) > fewest and total > most:
        total -= kept.popitem(last=False)[1].nbytes
