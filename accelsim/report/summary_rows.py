"""The lines of the table that a run ends with: one backend on one GEMM, or on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from accelsim.records import Record, Status
from accelsim.records.fields import FIELDS, STAGES
from accelsim.records.record import Stage
from accelsim.report.cells import MISSING, count, milliseconds, ratio, time_ratio
from accelsim.report.line import Line
from accelsim.report.option_names import OptionNames


class Labels:
    """Short names of lines: backends, or strategies where one backend runs several.

    A backend's name also tells the same backend with other options apart.

    Parameters
    ----------
    records : sequence of Record
        The records of one run.

    Attributes
    ----------
    kind : {"backend", "strategy"}
        What the names name.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._options = OptionNames(records)
        self._names: dict[tuple[str, str, str | None], str] = {}
        self._many_digits = len({record.digits for record in records}) > 1
        one_backend = len({self.backend(record) for record in records}) == 1
        several = one_backend and len({record.strategy for record in records}) > 1
        self.kind: Literal["backend", "strategy"] = "strategy" if several else "backend"
        self._blocks = several and any(record.block is not None for record in records)

    @property
    def fields(self) -> tuple[str, ...]:
        """The settings of a record that its name holds."""
        return ("strategy", "digits", "block") if self.kind == "strategy" else ()

    def of(self, record: Record) -> str:
        """Name the line that a record belongs to."""
        if self.kind == "backend":
            return self.backend(record)
        block = [] if record.block is None else [str(record.block)]
        digits = [record.digits] if self._many_digits else []
        return " ".join([record.strategy, *block, *digits])

    def backend(self, record: Record) -> str:
        """Name the backend, with the options that tell it apart and a star if it is not native."""
        key = record.backend, repr(record.backend_options), record.execution
        if key not in self._names:
            self._names[key] = self._backend(record)
        return self._names[key]

    def _backend(self, record: Record) -> str:
        values = self._options.words(record.backend, record.backend_options)
        star = "" if record.execution in ("native", None) else "*"
        return " ".join([record.backend, *values]) + star

    def options(self, record: Record) -> dict[str, str]:
        """Return what tells its backend apart from the same with other options, by its titles."""
        return self._options.parts(record.backend, record.backend_options)

    def notes(self) -> list[str]:
        """Explain the names."""
        blocks = ["A number after a strategy: the columns of its blocks."] if self._blocks else []
        return blocks + self._options.notes()


class Columns:
    """The columns of the table, which depend on what was measured.

    Parameters
    ----------
    records : sequence of Record
        All records of the table.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.labels = Labels(records)
        self.stages = [name for name in STAGES if any(name in r.time_ms for r in records)]
        self.baselines = list(dict.fromkeys(name for r in records for name in r.baselines))
        self._cells: dict[str, Callable[[Line], str]] = {
            self.labels.kind: lambda line: self.labels.of(line.records[0]),
            "exact": _exact,
            FIELDS["ratio"].title: lambda line: (
                MISSING if line.ratio is None else ratio(line.ratio)
            ),
            FIELDS["low_bit_macs"].title: _macs,
            **{STAGES[stage].short: partial(_time, stage=stage) for stage in self.stages},
            **{f"×{name}": partial(_speedup, baseline=name) for name in self.baselines},
        }

    def layout(self, groups: Sequence[Sequence[Line]]) -> tuple[list[str], list[list[str]]]:
        """Render all lines, with the columns of all groups below each other.

        Parameters
        ----------
        groups : sequence of sequence of Line
            The lines of every group.

        Returns
        -------
        head : list of str
            The two lines above the table.
        body : list of list of str
            The lines of each group.
        """
        names = list(self._cells)
        cells = [[[show(line) for show in self._cells.values()] for line in g] for g in groups]
        widths = [
            max(len(names[index]), *(len(line[index]) for group in cells for line in group))
            for index in range(len(names))
        ]
        head = [self._spans(widths), _join(names, widths)]
        return head, [[_join(line, widths) for line in group] for group in cells]

    def _spans(self, widths: Sequence[int]) -> str:
        """Return the line above the names, with the headings of groups of columns."""
        spans = {"low-bit": 2, "time, ms": len(self.stages), "speed-up": len(self.baselines)}
        start = 2
        words = " " * (3 + sum(widths[:start]))
        for title, columns in spans.items():
            if columns:
                width = sum(widths[start : start + columns]) + columns - 1
                words += " " + f" {title} ".center(width, "─")
            start += columns
        return words


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    label, *numbers = zip(cells, widths, strict=True)
    return " ".join(["  " + label[0].ljust(label[1]), *(cell.rjust(w) for cell, w in numbers)])


def _exact(line: Line) -> str:
    if line.summed:
        return line.verified or MISSING
    status = line.records[0].status
    return {Status.OK: "yes", Status.INEXACT: "NO"}.get(status, str(status))


def _macs(line: Line) -> str:
    return MISSING if line.low_bit_macs is None else count(line.low_bit_macs)


def _time(line: Line, stage: Stage) -> str:
    time = line.time(stage)
    return MISSING if time is None else milliseconds(time)


def _speedup(line: Line, baseline: str) -> str:
    return time_ratio(line.speedup(baseline))
