"""What a command is doing: one line with a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from accelsim.measure.durations import duration
from accelsim.report.cells import printable

SECONDS_BETWEEN = 5.0
"""The least time between two lines where there is no terminal."""

REFRESHES_PER_SECOND = 50
"""Shortest interval between changes of the line on a terminal; a change takes a millisecond."""


@dataclass(frozen=True)
class Now:
    """The state of the work.

    Parameters
    ----------
    share : float
        What is done of it, from 0 to 1; 1 is the end.
    count : str
        The same in words, such as ``3/12``.
    seconds_left : float or None
        An estimate of the remaining time, if there is one.
    words : callable
        Returns what is being done now; called only when it is shown.
    """

    share: float
    count: str
    seconds_left: float | None
    words: Callable[[], str]

    @property
    def left(self) -> str:
        """The remaining time in words."""
        return "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"


Update: TypeAlias = Callable[[Now], None]


def live(console: Console) -> AbstractContextManager[Update]:
    """Return a context in which the state of the work is shown, as often as is of use.

    Parameters
    ----------
    console : Console
        Where; on a terminal it is a bar that is gone at the end.
    """
    return _bar(console) if console.is_terminal else _lines(console)


def say(console: Console, words: str) -> None:
    """Print a line that stays, above the bar if there is one."""
    console.print(printable(words), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _bar(console: Console) -> Iterator[Update]:
    # No thread redraws the line: it would run beside what is timed.
    bar = Progress(
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
        TextColumn(
            "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
        console=console,
        auto_refresh=False,
        transient=True,
        expand=True,
    )
    task = bar.add_task("", total=None, count="", left="")
    shown = 0.0

    def update(now: Now) -> None:
        nonlocal shown
        moment = time.monotonic()
        if moment - shown < 1 / REFRESHES_PER_SECOND and now.share < 1:
            return
        shown = moment
        words = printable(now.words()).replace("[", "\\[")
        bar.update(task, completed=now.share, total=1.0, count=now.count, left=now.left)
        bar.update(task, description=words)
        bar.refresh()

    with bar:
        yield update


@contextmanager
def _lines(console: Console) -> Iterator[Update]:
    said = time.monotonic()

    def update(now: Now) -> None:
        nonlocal said
        moment = time.monotonic()
        if now.share < 1 and moment - said >= SECONDS_BETWEEN:
            said = moment
            say(console, " ".join(filter(None, [f"[{now.count}]", now.left, now.words()])))

    yield update
