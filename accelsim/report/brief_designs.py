"""The table of modelled accelerators in `accelsim.report.brief`."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from accelsim.records import Record
from accelsim.records.folder import TABLE
from accelsim.report.brief_rows import Columns, CutTable, cut_name, lay_out
from accelsim.report.cells import MISSING
from accelsim.report.design_columns import COLUMNS, Compared, technology
from accelsim.report.designs import Design, all_designs, cheapest
from accelsim.report.settings import Settings

_IMPORTANT = (
    "cycles",
    "seconds",
    "stalls",
    "energy, J",
    "mm²",
    "bound",
    "/least",
    "r",
    "use",
    "area·time",
    "DRAM, B",
    "area",
)
"""Columns of modelled accelerators, the most important first; `table.txt` has the others."""

_FIRST = _IMPORTANT[:6]
"""Those that are worth narrower gaps."""

_MEASURES = ("seconds", "energy, J", "mm²")
"""Columns of numbers that are neither counts nor shares, which have three digits here."""

_OFFERED = {column.title: column for column in COLUMNS}

_CLEAR = ("cycles", "seconds", "energy, J", "r")
"""Columns whose heads say nearly all, so that they are explained last."""

_FEWEST_COLUMNS = 24
"""Columns of a line that names leave to numbers at least."""


def design_block(records: Sequence[Record], width: int) -> CutTable | None:
    """Return a line for every modelled accelerator, the best first; None if there is none.

    What all have in common stands above them, once.

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
    left, shortened = _names(rows, width)
    known = _known(rows)
    node = technology([row.design for row in rows])
    # Heads without the node, and then narrower gaps, are for what an architect asks first.
    tries = [_fitting(rows, known, left, width, *how) for how in ((2, node), (2, ""), (1, ""))]
    first = [title for title in known if title in _FIRST]
    shown, (head, *lines) = next((found for found in tries if {*first} <= {*found[0]}), tries[0])
    foot = textwrap.wrap(_winners(groups, best), width, max_lines=2)
    if hidden := [title for title in known if title not in shown]:
        words = f"Only in {TABLE}, for lack of width: {'; '.join(hidden)}."
        foot += textwrap.wrap(words, width, max_lines=1, placeholder=" …")
    unsaid = node if "mm²" in shown and node not in head else ""
    above = textwrap.wrap(_common(rows, unsaid), width, max_lines=2, placeholder=" …")
    told = sorted(shown, key=_CLEAR.__contains__)
    meanings = shortened | {name: words for name in told if (words := _OFFERED[name].meaning)}
    if "mm²" in meanings and node:
        meanings["mm²"] = f"area in {node}"
    return CutTable([*above, head], lines, foot, ranks, meanings)


def _known(rows: Sequence[Compared]) -> list[str]:
    """Return the titles of the columns that have a value, the most important first."""
    wrong = any(not row.design.sound for row in rows)
    titles = (*(("exact",) if wrong else ()), *_IMPORTANT)
    return [name for name in titles if any(_OFFERED[name].value(row) is not None for row in rows)]


def _names(rows: Sequence[Compared], width: int) -> tuple[Columns[Compared], dict[str, str]]:
    """Return the columns that tell designs apart, and which of their titles are shortened."""
    asked: Columns[Compared] = {}
    if len({row.design.asked for row in rows}) > 1:
        asked[""] = lambda row: row.design.asked
    columns, shortened = dict(asked), {}
    for name in dict.fromkeys(name for row in rows for name in row.design.parts):
        values = [row.design.parts.get(name, MISSING) for row in rows]
        if len({*values}) == 1:
            continue
        ending = _shared_ending(values)
        title = ending.removeprefix("-") or _short(name)
        if title in columns:
            title = name
        if title not in (name, ending.removeprefix("-")):
            shortened[title] = name
        columns[title] = partial(_part, name=name, ending=ending)
    if len(columns) > len(asked):
        longest = len(lay_out(columns, rows, len(columns))[0])
        if longest <= max(width - _FEWEST_COLUMNS, width // 2):
            return columns, shortened
    return {**asked, "design": lambda row: cut_name(row.design.label, width)}, {}


def _part(row: Compared, name: str, ending: str) -> str:
    return row.design.parts.get(name, MISSING).removesuffix(ending)


def _shared_ending(values: Iterable[str]) -> str:
    """Return what follows the last hyphen of all values, as in ``output-stationary``, or nothing.

    It is a good head of their column, and need not be repeated in each line.
    """
    parts = [value.rpartition("-") for value in values]
    endings = {hyphen + end for begin, hyphen, end in parts if begin}
    return endings.pop() if len(endings) == 1 and all(begin for begin, _, _ in parts) else ""


def _short(title: str) -> str:
    """Return a title of several words with the long ones before the last cut."""
    *words, last = title.split()
    return " ".join([*(f"{word[:3]}." if len(word) > 6 else word for word in words), last])


def _common(rows: Sequence[Compared], node: str) -> str:
    """Say what all designs have in common: the node, the backend, its model, and the settings."""
    records = [row.design.records[0] for row in rows]
    models = [str(record.cost_model).split(", ") for record in records]
    shared = [part for part in models[0] if all(part in model for model in models)]
    backends = dict.fromkeys(record.backend for record in records)
    parts = [*(backends if len(backends) == 1 else ()), *shared, *Settings(records).shared]
    gemms = max(len(row.design.records) for row in rows)
    plural = "" if gemms == 1 else "s"
    number = f"{len(rows)} modelled designs" if len(rows) > 1 else "The modelled design"
    number += f", mm² in {node}" if node else ""
    return f"{number}, {gemms} GEMM{plural} together: {', '.join(dict.fromkeys(parts))}."


def _fitting(
    rows: Sequence[Compared],
    known: Sequence[str],
    left: Columns[Compared],
    width: int,
    gap: int,
    node: str,
) -> tuple[list[str], list[str]]:
    """Return the titles of the columns that fit the width, and the lines of their table."""
    columns, shown = left, list[str]()
    for title in known:
        head = f"{title} ({node})" if title == "mm²" and node else title
        more = columns | {head: partial(_number, title=title)}
        if len(lay_out(more, rows, len(left), gap)[0]) <= width:
            columns = more
            shown.append(title)
    return shown, lay_out(columns, rows, len(left), gap)


def _number(row: Compared, title: str) -> str:
    value = _OFFERED[title].value(row)
    if value is None:
        return MISSING
    return _three_digits(value) if title in _MEASURES else _OFFERED[title].show(value)


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}"


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
