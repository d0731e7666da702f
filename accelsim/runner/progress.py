"""The progress of a run, and an estimate of the remaining time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from accelsim.records import Record
from accelsim.runner.cases import Case

FEWEST = 3
"""Cases from which on the rest is estimated; the first ones may compile code."""

_EXPONENT = 0.75
"""Times grow with the multiplications or, as unpacking does, with the entries of the operands."""

_OVERHEAD_MACS = 50_000_000
"""Multiplications of a GEMM that takes as long as all that does not depend on the size."""


@dataclass(frozen=True)
class Step:
    """The progress of a run.

    Parameters
    ----------
    done, total : int
        Records in the folder, and those that the config asks for.
    record : Record or None
        The newest; None when the run begins.
    following : Case or None
        The first case that has no record yet, of a backend that runs here: the one that is made
        now, or one of several.
    seconds_left : float or None
        Estimate of the remaining time; None until a few records were made, and at the end.
    """

    done: int
    total: int
    record: Record | None
    following: Case | None
    seconds_left: float | None


Progress: TypeAlias = Callable[[Step], None]


class Steps:
    """Turns records as they come into steps.

    Parameters
    ----------
    missing : sequence of Case
        The cases that have no record yet, in the order in which they are made.
    total : int
        How many records the config asks for.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        missing: Sequence[Case],
        total: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._total, self._done = total, total - len(missing)
        self._left = TimeLeft(missing)
        self._open = {case.number: case for case in missing}
        self._unavailable: set[str] = set()
        self._clock, self._before = clock, clock()

    def begin(self) -> Step:
        """Return the step before the first record."""
        return Step(self._done, self._total, None, self._following(), None)

    def made(self, case: Case, record: Record) -> Step:
        """Count a record and return the step."""
        now = self._clock()
        self._left.take(case, now - self._before)
        self._before = now
        self._done += 1
        self._open.pop(case.number, None)
        if not record.available:
            self._unavailable.add(case.choice.key)
        following = self._following()
        left = None if following is None else self._left.seconds
        return Step(self._done, self._total, record, following, left)

    def _following(self) -> Case | None:
        """Return the first open case of a backend that is not known to be unavailable."""
        cases = self._open.values()
        return next((case for case in cases if case.choice.key not in self._unavailable), None)


class TimeLeft:
    """Estimates the time that cases take from the time that others took.

    Cases of one backend and strategy are taken to need times that grow with the multiplications of
    their GEMMs in one way; those of a kind that was not seen yet count as all others do. The case
    of each kind that took longest for its size is left out if there are others: it compiled code,
    or the machine was busy for a moment.

    Parameters
    ----------
    cases : iterable of Case
        What is still to be done.

    Examples
    --------
    >>> TimeLeft([]).seconds is None
    True
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        self._open: dict[tuple[str, str], float] = defaultdict(float)
        self._taken: dict[tuple[str, str], _Taken] = defaultdict(_Taken)
        self._cases = 0
        for case in cases:
            self._open[_kind(case)] += _weight(case)

    def take(self, case: Case, seconds: float) -> None:
        """Record the time of a case."""
        kind, weight = _kind(case), _weight(case)
        self._open[kind] -= weight
        self._cases += 1
        self._taken[kind].add(seconds, weight)

    @property
    def seconds(self) -> float | None:
        """The remaining time; None until `FEWEST` cases are recorded."""
        if self._cases < FEWEST:
            return None
        known = [taken.usual for taken in self._taken.values()]
        every = sum(seconds for seconds, _ in known) / sum(weight for _, weight in known)
        return sum(self._seconds(every))

    def _seconds(self, every: float) -> Iterator[float]:
        for kind, weight in self._open.items():
            known = self._taken.get(kind)
            if known is None:
                yield weight * every
            else:
                seconds, of = known.usual
                yield weight * seconds / of


@dataclass
class _Taken:
    """The seconds of some cases and their weights, and those of the slowest for its weight."""

    cases: int = 0
    seconds: float = 0.0
    weight: float = 0.0
    slowest: tuple[float, float] = (0.0, 1.0)

    def add(self, seconds: float, weight: float) -> None:
        """Count a case."""
        self.cases += 1
        self.seconds += seconds
        self.weight += weight
        if seconds / weight > self.slowest[0] / self.slowest[1]:
            self.slowest = seconds, weight

    @property
    def usual(self) -> tuple[float, float]:
        """Seconds and weight, without the slowest case if there are others."""
        if self.cases == 1:
            return self.seconds, self.weight
        return self.seconds - self.slowest[0], self.weight - self.slowest[1]


def _kind(case: Case) -> tuple[str, str]:
    return case.choice.key, str(case.unpack.strategy)


def _weight(case: Case) -> float:
    return float((case.gemm.macs + _OVERHEAD_MACS) ** _EXPONENT)
