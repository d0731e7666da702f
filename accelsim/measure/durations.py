"""Times for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time that need not be exact in seconds, minutes or hours, such as ``12 s``.

    Parameters
    ----------
    seconds : float
        The time.

    Returns
    -------
    str
        With its unit.
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
