"""Flags that backends, or packages about them, add to commands of the suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

from gemm_backends.types import Status

GROUP = "accelsim.actions"
"""The entry points by which a package adds actions to a backend that does not know it.

The name is that of the backend, the object a sequence of `Action`. Help lists their flags, so the
module of the object should not import PyTorch before an action runs.
"""


@dataclass(frozen=True)
class Outcome:
    """The result of one check or step.

    Parameters
    ----------
    name : str
        What was checked or done.
    status : {"passed", "failed", "skipped"}
        How it ended.
    detail : str
        What was found, why it failed or why it was skipped.
    seconds : float
        How long it took.
    cause : str
        The kind of fault; failures of one kind may have one root. Empty where it is not known.
    """

    name: str
    status: Status
    detail: str = ""
    seconds: float = 0.0
    cause: str = ""


def _nothing() -> str:
    """Return that nothing is missing."""
    return ""


@dataclass(frozen=True)
class Action:
    """A command-line flag that a backend adds to a command of the suite.

    Parameters
    ----------
    command : {"verify", "doctor"}
        The command that gets the flag.
    flag : str
        Its name without the dashes, such as ``"rtl"``.
    help : str
        One sentence for ``--help``.
    run : callable
        Takes an instance of the backend and yields an `Outcome` for every step, which the command
        shows among its own.
    lacks : callable
        Says what is missing on this machine and how to get it, or an empty text. The command then
        reports that before it does anything else.

    Raises
    ------
    ValueError
        If the command has no such flags, or the flag is not a lower-case word.
    """

    command: Literal["verify", "doctor"]
    flag: str
    help: str
    run: Callable[[Any], Iterable[Outcome]]
    lacks: Callable[[], str] = _nothing

    def __post_init__(self) -> None:
        if self.command not in ("verify", "doctor"):
            raise ValueError(f"command must be verify or doctor, got {self.command!r}")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.flag):
            raise ValueError(f"flag must be a word such as 'rtl', got {self.flag!r}")


def added_actions(backend: str) -> Iterator[Action]:
    """Yield the actions that packages add to a backend of this name."""
    for point in entry_points(group=GROUP, name=backend):
        yield from point.load()
