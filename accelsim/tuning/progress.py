"""How long work takes, said beforehand, and what is left of it."""

from __future__ import annotations

import time

from accelsim.measure.durations import duration
from accelsim.tuning.subject import Say

SECONDS_BETWEEN = 5.0
"""The least time between two lines about the progress."""


class Progress:
    """Says beforehand how long the work takes, and now and then what is done and what is left.

    Parameters
    ----------
    say : callable
        Called with lines.
    total, done : int
        Steps, and how many of them were done before.
    steps : str
        What they are called.
    """

    def __init__(self, say: Say, total: int, done: int, steps: str = "measurements") -> None:
        self._steps = steps
        self._say, self._total, self._before, self._done = say, total, done, done
        self._start = self._said = time.monotonic()
        if done:
            say(f"{done} of {total} {steps} are there already")

    def step(self, name: str) -> None:
        """Note that a step is done."""
        self._done += 1
        now = time.monotonic()
        own = self._done - self._before
        left = (now - self._start) / own * (self._total - self._done)
        if own == max(1, min(8, (self._total - self._before) // 4)):
            whole = duration((now - self._start) / own * (self._total - self._before))
            self._say(f"{self._total - self._before} {self._steps} take about {whole}")
            self._said = now
        elif now - self._said >= SECONDS_BETWEEN and self._done < self._total:
            self._say(f"[{self._done}/{self._total}] {duration(left)} left: {name}")
            self._said = now
