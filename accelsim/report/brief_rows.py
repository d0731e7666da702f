"""The tables of `accelsim.report.brief`: sums over GEMMs, and modelled accelerators."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

from accelsim.measure.ratios import TimeRatio
from accelsim.records import Record
from accelsim.records.fields import FIELDS, STAGES
from accelsim.records.folder import TABLE
from accelsim.records.record import Stage
from accelsim.report.cells import MISSING, count, milliseconds, ratio, text, time_ratio
from accelsim.report.design_columns import COLUMNS, Compared
from accelsim.report.designs import Design, all_designs, cheapest
from accelsim.report.line import Line
from accelsim.report.settings import Settings
from accelsim.report.summary_rows import Labels
from accelsim.report.words import explain_rounding

T = TypeVar("T")

_Columns: TypeAlias = dict[str, Callable[[T], str]]

_IMPORTANT = (
    "cycles",
    "/least",
    "area·time",
    "use",
    "energy, J",
    "stalls",
    "seconds",
    "area",
    "DRAM, B",
    "mm²",
)
"""Columns of modelled accelerators, the most important first; the table above has the others."""


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
    """

    head: Sequence[str]
    rows: Sequence[str]
    foot: Sequence[str]
    ranks: Sequence[int]
    meanings: Mapping[str, str] = field(default_factory=dict)
    ratios: Sequence[TimeRatio | None] = ()

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
    left: _Columns[Line] = {FIELDS[f].title: partial(_setting, name=f) for f in settings.swept}
    left[labels.kind] = lambda line: _cut(labels.of(line.records[0]), width)
    counts: _Columns[Line] = {
        "exact": _exact,
        "r": lambda line: MISSING if line.ratio is None else ratio(line.ratio),
        "MACs": lambda line: MISSING if line.low_bit_macs is None else count(line.low_bit_macs),
    }
    every: _Columns[Line] = {STAGES[stage].short: partial(_time, stage=stage) for stage in stages}
    short: _Columns[Line] = {}
    if stages:
        short = {"total, ms": partial(_time, stage="total"), "mostly": _mostly}
    # If the width does not suffice, stages are dropped first, then the last baselines.
    offers = [(every, baselines)]
    offers += [(short, baselines[:number]) for number in range(len(baselines), -1, -1)]
    for times, named in offers:
        speedups: _Columns[Line] = {f"×{name}": partial(_speedup, baseline=name) for name in named}
        head, *rows = _table(left | counts | times | speedups, lines, len(left))
        if len(head) <= width:
            break
    ratios = [line.speedup(name) for line in lines for name in named]
    meanings = _withheld(lines, named) | _meanings(ran, named, stages)
    return CutTable([head], rows, (), range(len(rows)), meanings, ratios)


def design_block(records: Sequence[Record], width: int) -> CutTable | None:
    """Return a line for every modelled accelerator, the best first; None if there is none.

    Parameters
    ----------
    records : sequence of Record
        Those of one run.
    width : int
        Columns of a line.
    """
    groups: dict[str, list[Design]] = defaultdict(list)
    for design in all_designs(records):
        if design.is_modelled:
            groups[design.asked].append(design)
    if not groups:
        return None
    best = {asked: cheapest(members) for asked, members in groups.items()}
    least = {asked: design.area_time if design else None for asked, design in best.items()}
    ordered = [sorted(members, key=_area_time) for members in groups.values()]
    rows = [Compared(design, least[design.asked]) for members in ordered for design in members]
    ranks = [rank for members in ordered for rank in range(len(members))]
    left: _Columns[Compared] = {"": lambda row: row.design.asked} if len(groups) > 1 else {}
    left["modelled"] = lambda row: _cut(row.design.label, width)
    offered = {column.title: column for column in COLUMNS}
    shown: list[str] = []
    for title in _IMPORTANT:
        if title in offered and any(offered[title].value(row) is not None for row in rows):
            found = [name for name in offered if name in (*shown, title)]
            columns: _Columns[Compared] = {x: partial(_of_design, title=x) for x in found}
            if len(_table(left | columns, rows, len(left))[0]) <= width:
                shown = found
    columns = {name: partial(_of_design, title=name) for name in shown}
    head, *lines = _table(left | columns, rows, len(left))
    foot = textwrap.wrap(_winners(groups, best), width, max_lines=2)
    hidden = [
        title
        for title in _IMPORTANT
        if title not in shown and any(offered[title].value(row) is not None for row in rows)
    ]
    if hidden:
        words = f"Only in {TABLE}, for lack of width: {'; '.join(hidden)}."
        foot += textwrap.wrap(words, width, max_lines=1, placeholder=" …")
    meanings = {name: offered[name].meaning for name in shown if offered[name].meaning}
    return CutTable([head], lines, foot, ranks, meanings)


def _area_time(design: Design) -> float:
    return math.inf if design.area_time is None else design.area_time


def _winners(groups: Mapping[str, Sequence[Design]], best: Mapping[str, Design | None]) -> str:
    """Name the designs with the least area x time, with all the settings that one is best at."""
    where: dict[str, list[str]] = defaultdict(list)
    for asked, design in best.items():
        if design is not None and len(groups[asked]) > 1:
            where[f"{design.label}{_accumulators(design)}"].append(asked)
    if not where:
        return ""
    parts = [label if not any(at) else f"{label} ({'; '.join(at)})" for label, at in where.items()]
    verified = any(design.exact for design in best.values() if design is not None)
    among = "exact designs" if verified else "designs counted"
    return f"Least area·time of the {among}: {', '.join(parts)}."


def _accumulators(design: Design) -> str:
    """Name the width of a design's accumulators, which its price depends on."""
    bits = design.records[0].backend_options.get("accumulator_bits")
    return f", {bits}-bit accumulators" if isinstance(bits, int) else ""


def _of_design(row: Compared, title: str) -> str:
    column = next(column for column in COLUMNS if column.title == title)
    value = column.value(row)
    return MISSING if value is None else column.show(value)


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
            times[f"{name} itself"] = f"{' to '.join(ends)} ms"
    return times


def _cut(label: str, width: int) -> str:
    """Cut a name, such as that of a backend with many options, which would leave no columns."""
    most = max(20, 2 * width // 5)
    return label if len(label) <= most else f"{label[: most - 1]}…"


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


def _table(columns: _Columns[T], rows: Sequence[T], left: int) -> list[str]:
    """Return the head and the rows; the first `left` columns begin on the left."""
    cells = [list(columns), *([show(row) for show in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
