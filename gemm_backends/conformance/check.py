"""The definition of a check, and its two outcomes other than success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gemm_backends.conformance.errors import CheckFailed, NotApplicable
from gemm_backends.conformance.subject import Subject

__all__ = ["Check", "CheckFailed", "NotApplicable", "check"]


@dataclass(frozen=True)
class Check:
    """One property that every backend must have.

    Parameters
    ----------
    name : str
        A short identifier, such as ``"batches"``.
    title : str
        What must hold, in one line.
    run : callable
        Takes a `Subject`, returns what was tried, and raises `CheckFailed` or `NotApplicable`.
    """

    name: str
    title: str
    run: Callable[[Subject], str]


def check(run: Callable[[Subject], str]) -> Check:
    """Make a check of a function: its name, and its docstring as the title."""
    return Check(run.__name__, (run.__doc__ or "").strip(), run)
