"""Hypothesis for a limited time: batches of new examples until the time is up."""

import random
import time
from collections.abc import Callable
from typing import Any

from hypothesis import given, seed, settings
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.strategies import SearchStrategy

BATCH = 50
"""Examples between two looks at whether any more are wanted: Hypothesis draws all of a batch."""

REPORTED_S = 15.0
"""Seconds between two lines of progress."""


def search(
    cases: SearchStrategy[Any],
    check: Callable[[Any], None],
    seconds: float,
    say: Callable[[str], None],
) -> int:
    """Try drawn examples until the time is up, or until one fails.

    Parameters
    ----------
    cases : SearchStrategy
        What to draw.
    check : callable
        Raises where an example is wrong.
    seconds : float
        From the call on; the example that is being tried then is finished.
    say : callable
        Takes a line of progress.

    Returns
    -------
    int
        How many examples were tried.
    """
    start = time.monotonic()
    first = random.SystemRandom().getrandbits(32)
    tried, reported, batch = 0, start, 0

    @settings(max_examples=BATCH)
    @given(cases)
    def try_one(case: Any) -> None:
        nonlocal tried, reported
        now = time.monotonic()
        # A batch ends whole; what fails is tried again, smaller, however long that takes.
        if now - start > seconds and not failed:
            return
        if now - reported > REPORTED_S:
            say(f"{tried:,} examples in {now - start:.0f} of {seconds:.0f} s")
            reported = now
        tried += 1
        try:
            check(case)
        except UnsatisfiedAssumption:
            tried -= 1
            raise
        except Exception:
            failed.append(case)
            raise

    failed: list[Any] = []
    while time.monotonic() - start < seconds:
        seed(first + batch)(try_one)()
        batch += 1
    took = time.monotonic() - start
    say(f"{tried:,} examples in {took:.0f} s, none failed; seeds from {first}, {batch} batches")
    return tried
