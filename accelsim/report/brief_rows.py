"""The tables of `accelsim.report.brief`, and the one with sums over GEMMs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

from accelsim.measure.ratios import TimeRatio
from accelsim.records import Record
from accelsim.records.fields import FIELDS, STAGES
from accelsim.records.record import Stage
from accelsim.report.cells import MISSING, count, milliseconds, ratio, text, time_ratio
from accelsim.report.line import Line
from accelsim.report.settings import Settings
from accelsim.report.summary_rows import Labels
from accelsim.report.words import explain_rounding

T = TypeVar("T")

Columns: TypeAlias = dict[str, Callable[[T], str]]


@dataclass(frozen=True)
class CutTable:
    """A table that may be cut.

    Parameters
    ----------
    head, rows, foot : sequence of str
        Its lines.
    ranks : sequence of int
        Of each row; those with the lowest stay.
    meanings : mapping
        What its columns mean, by their titles.
    ratios : sequence of TimeRatio or None
        Those that it shows.
    names_backends : bool
        Whether it has the names of backends, with their marks and options.
    """

    head: Sequence[str]
    rows: Sequence[str]
    foot: Sequence[str]
    ranks: Sequence[int]
    meanings: Mapping[str, str] = field(default_factory=dict)
    ratios: Sequence[TimeRatio | None] = ()
    names_backends: bool = False

    @property
    def lines(self) -> int:
        """Its number of lines when uncut."""
        return len(self.head) + len(self.rows) + len(self.foot)

    def cut(self, most: int) -> list[str]:
        """Return its lines, or the first rows and how many were left out; none if none fit."""
        if self.lines <= most:
            return [*self.head, *self.rows, *self.foot]
        room = most - len(self.head) - len(self.foot) - 1
        if room < 1:
            return []
        stay = sorted(sorted(range(len(self.rows)), key=self.ranks.__getitem__)[:room])
        more = f"… and {len(self.rows) - room} more in table.txt (--details prints them)"
        return [*self.head, *(self.rows[index] for index in stay), more, *self.foot]


def sum_block(ran: Sequence[Record], width: int) -> CutTable:
    """Return a line for every setting and backend, with sums over the GEMMs.

    Where they fit the width, all stages have their columns, else the longest is named.

    Parameters
    ----------
    ran : sequence of Record
        At least one.
    width : int
        Columns of a line.
    """
    labels = Labels(ran)
    settings = Settings(ran, labels.fields)
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in ran:
        groups[*_values(record, settings.swept), labels.of(record)].append(record)
    lines = [Line(members, summed=True) for members in groups.values()]
    stages = [name for name in STAGES if any(name in record.time_ms for record in ran)]
    baselines = list(dict.fromkeys(name for record in ran for name in record.baselines))
    left: Columns[Line] = {FIELDS[f].title: partial(_setting, name=f) for f in settings.swept}
    names = cut_names({labels.of(record) for record in ran}, width)
    left[labels.kind] = lambda line: names[labels.of(line.records[0])]
    counts: Columns[Line] = {
        "exact": _exact,
        "r": lambda line: MISSING if line.ratio is None else ratio(line.ratio),
        "MACs": lambda line: MISSING if line.low_bit_macs is None else count(line.low_bit_macs),
    }
    every: Columns[Line] = {STAGES[stage].short: partial(_time, stage=stage) for stage in stages}
    short: Columns[Line] = {}
    if stages:
        short = {"total, ms": partial(_time, stage="total"), "mostly": _mostly}
    # If the width does not suffice, stages are dropped first, then the last baselines.
    offers = [(every, baselines)]
    offers += [(short, baselines[:number]) for number in range(len(baselines), -1, -1)]
    for times, named in offers:
        speedups: Columns[Line] = {f"×{name}": partial(_speedup, baseline=name) for name in named}
        head, *rows = lay_out(left | counts | times | speedups, lines, len(left))
        if len(head) <= width:
            break
    ratios = [line.speedup(name) for line in lines for name in named]
    meanings = _withheld(lines, named) | _meanings(ran, named, stages)
    return CutTable([head], rows, (), range(len(rows)), meanings, ratios, True)


def _meanings(
    ran: Sequence[Record], baselines: Sequence[str], stages: Sequence[Stage]
) -> dict[str, str]:
    meanings = {"r": "low-bit multiplications over those of the GEMMs"}
    meanings |= explain_rounding(ran)
    repeats = [times.repeats for record in ran for times in record.time_ms.values()]
    if stages and repeats:
        low, high = min(repeats), max(repeats)
        number = str(low) if low == high else f"{low} to {high}"
        repeated = "1 repeat" if high == 1 else f"{number} repeats"
        meanings["total"] = f"median of {repeated}, summed over the GEMMs"
        if any(record.timing is not None and not record.timing.warmup for record in ran):
            meanings["total"] += "; without warm-up a backend's first may include compilation"
    if baselines:
        names = ", ".join(f"×{name}" for name in baselines)
        meanings[names] = "time of that GEMM over the total; above 1 is faster than it"
    meanings["MACs"] = "low-bit multiply-adds"
    return meanings


def _withheld(lines: Sequence[Line], baselines: Sequence[str]) -> dict[str, str]:
    """Give the times of the baselines of which a ratio is not a result, lest nothing is seen."""
    times = {}
    for name in baselines:
        void = [line for line in lines if (found := line.speedup(name)) and found.void]
        known = [time for line in void if (time := line.baseline_time(name)) is not None]
        if known:
            ends = dict.fromkeys(map(milliseconds, (min(known), max(known))))
            times[f"{name} where ×{name} is –"] = f"{' to '.join(ends)} ms"
    return times


def cut_names(names: Iterable[str], width: int) -> dict[str, str]:
    """Cut names, such as those of backends with many options, which would leave no columns.

    Names that would become equal stay as long as they are.
    """
    most = max(20, 2 * width // 5)
    cut = {name: name if len(name) <= most else f"{name[: most - 1]}…" for name in names}
    times = Counter(cut.values())
    return {name: short if times[short] == 1 else name for name, short in cut.items()}


def _values(record: Record, fields: Iterable[str]) -> list[str]:
    return [_setting(Line([record]), name) for name in fields]


def _setting(line: Line, name: str) -> str:
    value = getattr(line.records[0], name)
    plain = {"a": value.a, "b": value.b} if hasattr(value, "a") else value
    return MISSING if plain is None else text(plain)


def _exact(line: Line) -> str:
    return line.verified or MISSING


def _time(line: Line, stage: Stage) -> str:
    time = line.time(stage)
    return MISSING if time is None else milliseconds(time)


def _mostly(line: Line) -> str:
    """Name the stage that takes longest, with its share of the total."""
    total = line.time("total")
    times = {stage: line.time(stage) for stage in STAGES if stage != "total"}
    known = {stage: time for stage, time in times.items() if time is not None}
    if not total or not known:
        return MISSING
    stage = max(known, key=lambda name: known[name])
    return f"{STAGES[stage].short} {known[stage] / total:.0%}"


def _speedup(line: Line, baseline: str) -> str:
    return time_ratio(line.speedup(baseline))


def lay_out(columns: Columns[T], rows: Sequence[T], left: int, gap: int = 2) -> list[str]:
    """Return the head and the rows of a table.

    Parameters
    ----------
    columns : mapping
        From each title to the text that a row has there.
    rows : sequence
        What is shown.
    left : int
        How many of the columns begin on the left, as names do; numbers end on the right.
    gap : int
        Spaces between columns.
    """
    cells = [list(columns), *([show(row) for show in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        (" " * gap).join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
