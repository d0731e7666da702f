"""Progress of a run: one line with a bar on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from accelsim.measure.durations import duration
from accelsim.records import Record, Status
from accelsim.records.fields import SETTINGS
from accelsim.report.cells import printable, text
from accelsim.report.options import option_values, telling_options
from accelsim.report.settings import describe

if TYPE_CHECKING:
    from accelsim.runner.cases import Case
    from accelsim.runner.progress import Progress, Step

SECONDS_BETWEEN = 5.0
"""The least time between two lines where there is no terminal."""

MOST_FAILURES = 3
"""Number of failed records that are reported during the run."""

REFRESHES_PER_SECOND = 50
"""Shortest interval between changes of the line on a terminal; a change takes a millisecond."""


def showing(cases: Sequence[Case], console: Console) -> AbstractContextManager[Progress]:
    """Return a context in which the progress of a run is shown.

    Parameters
    ----------
    cases : sequence of Case
        All of the run.
    console : Console
        Where; on a terminal it is a bar that is gone at the end.
    """
    names = Names(cases)
    return _bar(names, console) if console.is_terminal else _lines(names, console)


class Names:
    """Short names of cases and records: the GEMM, what the config sweeps, and the backend.

    Parameters
    ----------
    cases : sequence of Case
        All of the run.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        fields = [case.fields for case in cases]
        self._telling = telling_options(fields)
        self._swept = [
            name
            for name in SETTINGS
            if name != "workload" and any(found[name] != fields[0][name] for found in fields)
        ]
        self._workloads = len({found["workload"] for found in fields}) > 1

    def of(self, fields: Mapping[str, Any]) -> str:
        """Name a case or a record by its GEMM, the settings that the config sweeps, the backend."""
        backend, gemm = fields["backend"], fields["gemm"]
        options = option_values(fields["backend_options"], self._telling[backend])
        if self._workloads and not gemm.startswith(f"{fields['workload']}."):
            gemm = f"{fields['workload']}: {gemm}"
        words = [gemm, *describe(fields, self._swept), " ".join([backend, *map(text, options)])]
        return ", ".join(words)


class _Remarks:
    """Messages about records during a run, each printed once."""

    def __init__(self, names: Names, console: Console) -> None:
        self._names, self._console = names, console
        self._unavailable: set[tuple[str, str]] = set()
        self._failures = 0

    def see(self, record: Record | None) -> None:
        """Report that a backend cannot run here, or that a record failed."""
        if record is None:
            return
        if record.status is Status.UNAVAILABLE:
            found = (record.backend, record.reason)
            if found not in self._unavailable:
                _say(self._console, f"{record.backend} cannot run here: {record.reason}")
            self._unavailable.add(found)
        if record.status.failed:
            self._failures += 1
            if self._failures <= MOST_FAILURES:
                name = self._names.of(record.to_dict())
                _say(self._console, f"{record.status}: {name}: {record.reason}")
            elif self._failures == MOST_FAILURES + 1:
                _say(self._console, "more records failed; all are listed at the end")


@contextmanager
def _bar(names: Names, console: Console) -> Iterator[Progress]:
    # No thread redraws the line: it would run beside what is timed.
    bar = Bar(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
        TextColumn(
            "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
        console=console,
        auto_refresh=False,
        transient=True,
        expand=True,
    )
    remarks = _Remarks(names, console)
    task = bar.add_task("", total=None, left="")
    shown = 0.0

    def show(step: Step) -> None:
        nonlocal shown
        remarks.see(step.record)
        now = time.monotonic()
        if now - shown < 1 / REFRESHES_PER_SECOND and step.done < step.total:
            return
        shown = now
        bar.update(task, completed=step.done, total=step.total, left=_left(step))
        bar.update(task, description=_now(names, step).replace("[", "\\["))
        bar.refresh()

    with bar:
        yield show


@contextmanager
def _lines(names: Names, console: Console) -> Iterator[Progress]:
    remarks = _Remarks(names, console)
    said = time.monotonic()

    def show(step: Step) -> None:
        nonlocal said
        remarks.see(step.record)
        now = time.monotonic()
        if step.done < step.total and now - said >= SECONDS_BETWEEN:
            said = now
            parts = [f"[{step.done}/{step.total}]", _left(step), _now(names, step)]
            _say(console, " ".join(filter(None, parts)))

    yield show


def _say(console: Console, words: str) -> None:
    console.print(printable(words), markup=False, highlight=False, soft_wrap=True)


def _left(step: Step) -> str:
    return "" if step.seconds_left is None else f"{duration(step.seconds_left)} left"


def _now(names: Names, step: Step) -> str:
    return "" if step.following is None else printable(names.of(step.following.fields))
