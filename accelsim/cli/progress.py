"""Progress of a run, with what has to be said about its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from accelsim.cli.live import Now, live, say
from accelsim.records import Record, Status
from accelsim.records.fields import SETTINGS
from accelsim.report.option_names import OptionNames
from accelsim.report.settings import describe

if TYPE_CHECKING:
    from accelsim.runner.cases import Case
    from accelsim.runner.progress import Progress, Step

MOST_FAILURES = 3
"""Number of failed records that are reported during the run."""


@contextmanager
def showing(cases: Sequence[Case], console: Console) -> Iterator[Progress]:
    """Return a context in which the progress of a run is shown.

    Parameters
    ----------
    cases : sequence of Case
        All of the run.
    console : Console
        Where; on a terminal it is a bar that is gone at the end.
    """
    names = Names(cases)
    remarks = _Remarks(names, console)
    with live(console) as update:

        def show(step: Step) -> None:
            remarks.see(step.record)
            share = step.done / step.total if step.total else 1.0
            count = f"{step.done}/{step.total}"
            update(Now(share, count, step.seconds_left, lambda: _now(names, step)))

        yield show


class Names:
    """Short names of cases and records: the GEMM, what the config sweeps, and the backend.

    Parameters
    ----------
    cases : sequence of Case
        All of the run.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        fields = [case.fields for case in cases]
        self._options = OptionNames(fields)
        self._swept = [
            name
            for name in SETTINGS
            if name != "workload" and any(found[name] != fields[0][name] for found in fields)
        ]
        self._workloads = len({found["workload"] for found in fields}) > 1

    def of(self, fields: Mapping[str, Any]) -> str:
        """Name a case or a record by its GEMM, the settings that the config sweeps, the backend."""
        backend, gemm = fields["backend"], fields["gemm"]
        options = self._options.words(backend, fields["backend_options"])
        if self._workloads and not gemm.startswith(f"{fields['workload']}."):
            gemm = f"{fields['workload']}: {gemm}"
        words = [gemm, *describe(fields, self._swept), ", ".join([backend, *options])]
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
                say(self._console, f"{record.backend} cannot run here: {record.reason}")
            self._unavailable.add(found)
        if record.status.failed:
            self._failures += 1
            if self._failures <= MOST_FAILURES:
                name = self._names.of(record.to_dict())
                say(self._console, f"{record.status}: {name}: {record.reason}")
            elif self._failures == MOST_FAILURES + 1:
                say(self._console, "more records failed; all are listed at the end")


def _now(names: Names, step: Step) -> str:
    return "" if step.following is None else names.of(step.following.fields)
