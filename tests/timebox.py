"""Hypothesis for a limited time: examples that come later are not tried."""

import functools
import time

from hypothesis import settings

MANY = 100_000


def timebox(seconds):
    """Return a decorator, put under ``@given``'s, with which a test tries examples for a while.

    Parameters
    ----------
    seconds : float
        From the first example on.
    """

    def decorate(test):
        ends = []

        @functools.wraps(test)
        def within(*args, **kwargs):
            if not ends:
                ends.append(time.monotonic() + seconds)
            if time.monotonic() < ends[0]:
                test(*args, **kwargs)

        return settings(max_examples=MANY)(within)

    return decorate
