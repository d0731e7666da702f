"""One part of the proof of the hardware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part of the proof.

    Parameters
    ----------
    name : str
        In a word or two.
    run : callable
        Returns what was compared, exhausted or sampled; raises `Disagreement`.
    """

    name: str
    run: Callable[[], str]
