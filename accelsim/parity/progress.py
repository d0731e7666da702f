"""The progress of an experiment with a model, and an estimate of the remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

TRUST = 0.1
"""The forecast counts as much as this share of the work, measured: so that the first units, which
load what is needed or meet a busy machine, do not decide on the rest."""


@dataclass(frozen=True)
class ExpectedTime:
    """The seconds that a part of an experiment is expected to take.

    Parameters
    ----------
    each : float
        For each unit.
    before, after : float
        Once, before the first unit ends and after the last one.
    """

    each: float
    before: float = 0.0
    after: float = 0.0

    def of(self, done: int) -> float:
        """Return the seconds until so many units are done."""
        return self.before + done * self.each if done else 0.0


@dataclass(frozen=True)
class Part:
    """A part of an experiment: one treatment.

    Parameters
    ----------
    label : str
        Its name.
    units : int
        The number of windows or steps.
    cost : ExpectedTime
        What is expected.
    """

    label: str
    units: int
    cost: ExpectedTime

    def seconds(self, done: int) -> float:
        """Return the expected seconds until so many units are done."""
        return self.cost.of(done)

    @property
    def whole(self) -> float:
        """The expected seconds of the part."""
        return self.seconds(self.units) + self.cost.after


@dataclass(frozen=True)
class Step:
    """The progress of an experiment.

    Parameters
    ----------
    label : str
        Of the part that goes on now.
    number, parts : int
        Its place, from 1, and how many parts there are.
    done, units : int
        Units of the part that are done, and all of them.
    share : float
        What is done of the experiment, by its expected time, from 0 to 1.
    seconds_left : float
        Of the whole experiment.
    """

    label: str
    number: int
    parts: int
    done: int
    units: int
    share: float
    seconds_left: float


Show: TypeAlias = Callable[[Step], None]


def unseen(step: Step) -> None:
    """Show nothing."""


@dataclass
class Course:
    """Follows an experiment through its parts.

    The parts that are done tell how much slower or faster than expected the machine is; the part
    that goes on now tells it for itself.

    Parameters
    ----------
    parts : sequence of Part
        All that is to be done.
    show : callable
        Called with each step.
    clock : callable
        Returns seconds.

    Examples
    --------
    >>> seconds = iter([0.0, 20.0, 40.0]).__next__
    >>> steps = []
    >>> parts = [Part("first", 2, ExpectedTime(10.0)), Part("next", 2, ExpectedTime(1.0))]
    >>> course = Course(parts, steps.append, seconds)
    >>> course.seconds
    22.0
    >>> course.begin(0)
    >>> course.reach(1)
    >>> course.reach(2)
    >>> [round(step.seconds_left) for step in steps]
    [22, 22, 4]
    """

    parts: Sequence[Part]
    show: Show = unseen
    clock: Callable[[], float] = time.monotonic
    _part: int = field(default=0, init=False)
    _from: int = field(default=0, init=False)
    _start: float = field(default=0.0, init=False)
    _taken: float = field(default=0.0, init=False)
    _expected: float = field(default=0.0, init=False)

    @property
    def seconds(self) -> float:
        """What the whole is expected to take."""
        return sum(part.whole for part in self.parts)

    def begin(self, part: int, done: int = 0) -> None:
        """Go on to a part of which some units are done; those before it are done."""
        now = self.clock()
        if part:
            before = self.parts[part - 1]
            self._taken += now - self._start
            self._expected += before.whole - before.seconds(self._from)
        self._part, self._from, self._start = part, done, now
        self._tell(done, 0.0)

    def reach(self, done: int) -> None:
        """Count the units of the part that are done."""
        self._tell(done, self.clock() - self._start)

    def _tell(self, done: int, taken: float) -> None:
        part, seconds = self.parts[self._part], self.parts[self._part].seconds(done)
        expected = seconds - part.seconds(self._from)
        weight = TRUST * self.seconds
        pace = _pace(self._taken, self._expected, 1.0, weight)
        here = (part.whole - seconds) * _pace(taken, expected, pace, TRUST * part.whole)
        pace = _pace(self._taken + taken, self._expected + expected, 1.0, weight)
        earlier = sum(found.whole for found in self.parts[: self._part])
        later = sum(found.whole for found in self.parts[self._part + 1 :])
        self.show(
            Step(
                label=part.label,
                number=self._part + 1,
                parts=len(self.parts),
                done=done,
                units=part.units,
                share=(earlier + seconds) / self.seconds if self.seconds else 0.0,
                seconds_left=here + later * pace,
            )
        )


def _pace(taken: float, expected: float, before: float, weight: float) -> float:
    """Return how many times the expected time is taken, by seconds and what was held before."""
    return (taken + weight * before) / (expected + weight) if expected + weight else before
