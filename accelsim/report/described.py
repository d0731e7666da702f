"""A run under its name, with what several tables and figures need of its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from accelsim.records import Record, Run
from accelsim.report.designs import Design, designs
from accelsim.report.differences import labels
from accelsim.report.summary_rows import Labels


@dataclass(frozen=True)
class Described:
    """A run among those of one report.

    Parameters
    ----------
    name : str
        What the report calls it.
    run : Run
        As it was read.
    alone : bool
        Whether the report has no other run.
    """

    name: str
    run: Run
    alone: bool

    @property
    def records(self) -> Sequence[Record]:
        """Its records."""
        return self.run.records

    @cached_property
    def labels(self) -> Labels:
        """Short names of its backends."""
        return Labels(self.run.records)

    @cached_property
    def designs(self) -> list[Design]:
        """Its modelled accelerators."""
        return designs(self.run.records, self.labels)

    def backend(self, record: Record) -> str:
        """Name the backend of a record, with the run's name where there are several."""
        name = self.labels.backend(record)
        return name if self.alone else f"{self.name}: {name}"


def describe(runs: Sequence[Run]) -> list[Described]:
    """Return the runs under their names."""
    return [
        Described(name, run, len(runs) == 1) for name, run in zip(labels(runs), runs, strict=True)
    ]
