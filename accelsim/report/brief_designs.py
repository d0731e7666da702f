"""The table of modelled accelerators in `accelsim.report.brief`."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from accelsim.records import Record
from accelsim.records.folder import TABLE
from accelsim.report.brief_rows import Columns, CutTable, lay_out
from accelsim.report.cells import MISSING
from accelsim.report.design_columns import AMONG, COLUMNS, NOT_IN_AREA, Compared, technology
from accelsim.report.designs import SETTING_TITLES, Design, all_designs, cheapest
from accelsim.report.option_names import accelerator_name
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
    "area·s",
    "area·cycles",
    "DRAM, B",
    "area, MACs",
)
"""Columns of modelled accelerators, the most important first; `table.txt` has the others."""

_FIRST = _IMPORTANT[:7]
"""Those that are worth narrower gaps and short names of designs."""

_MEASURES = ("seconds", "energy, J", "mm²")
"""Columns of numbers that are neither counts nor shares, which have three digits here."""

_OFFERED = {column.title: column for column in COLUMNS}

_EXPLAINED = {"energy, J": 0, "mm²": 1, "/least": 2, "cycles": 4, "seconds": 4, "r": 4}
"""In which order columns are explained, all others between: what is not what it seems first."""

_MOST_NUMBERED = 9
"""Designs that are told apart by a number at most."""


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
    known = _known(rows)
    node = technology([row.design for row in rows])
    # Names become shorter, heads lose the node, and gaps get narrower, in this order, for what an
    # architect asks first.
    tries = [
        (shortened, said, *_fitting(rows, known, names, width, gap, of))
        for names, shortened, said in _offers(rows, width)
        for gap, of in ((2, node), (2, ""), (1, ""))
    ]
    first = {title for title in known if title in _FIRST}
    shortened, said, shown, (head, *lines) = max(
        tries, key=lambda found: len(first.intersection(found[2]))
    )
    foot = textwrap.wrap(said, width, max_lines=3, placeholder=" …")
    foot += textwrap.wrap(_winners(groups, best), width, max_lines=2, placeholder=" …")
    if hidden := [title for title in known if title not in shown]:
        words = f"Only in {TABLE}, for lack of width: {'; '.join(hidden)}."
        foot += textwrap.wrap(words, width, max_lines=1, placeholder=" …")
    unsaid = node if "mm²" in shown and node not in head else ""
    above = textwrap.wrap(_common(rows, unsaid), width, max_lines=2, placeholder=" …")
    told = sorted(shown, key=lambda title: _EXPLAINED.get(title, 3))
    meanings = shortened | {name: words for name in told if (words := _OFFERED[name].meaning)}
    if "mm²" in meanings and node:
        meanings["mm²"] = f"area in {node}, {NOT_IN_AREA}"
    return CutTable([*above, head], lines, foot, ranks, meanings)


def _known(rows: Sequence[Compared]) -> list[str]:
    """Return the titles of the columns that have a value, the most important first."""
    wrong = any(not row.design.sound for row in rows)
    titles = (*(("exact",) if wrong else ()), *_IMPORTANT)
    return [name for name in titles if any(_OFFERED[name].value(row) is not None for row in rows)]


def _offers(
    rows: Sequence[Compared], width: int
) -> Iterator[tuple[Columns[Compared], dict[str, str], str]]:
    """Yield the columns that tell designs apart, the widest first.

    With them, which titles are shortened, and what is said below the table.
    """
    asked: Columns[Compared] = {}
    if len({row.design.asked for row in rows}) > 1:
        asked[""] = lambda row: row.design.asked
    parts = [
        name
        for name in dict.fromkeys(name for row in rows for name in row.design.parts)
        if len({row.design.parts.get(name, MISSING) for row in rows}) > 1
    ]
    yield *_names(rows, asked, parts), ""
    swept = [name for name in parts if name in SETTING_TITLES]
    kinds = dict.fromkeys(row.design.kind for row in rows)
    numbers = {kind: str(number) for number, kind in enumerate(kinds, 1)}
    if 1 < len(numbers) <= _MOST_NUMBERED:
        columns, shortened = _names(rows, asked, swept)
        columns["design"] = lambda row: numbers[row.design.kind]
        said = "; ".join(f"{number} {kind}" for kind, number in numbers.items())
        yield columns, shortened, f"Designs: {said}."
    columns, shortened = _names(rows, asked, swept)
    cut = {kind: _cut(kind, max(8, width // 4)) for kind in kinds}
    if parts and len({*cut.values()}) == len(cut):
        yield {**columns, "design": lambda row: cut[row.design.kind]}, shortened, ""


def _names(
    rows: Sequence[Compared], asked: Columns[Compared], parts: Sequence[str]
) -> tuple[Columns[Compared], dict[str, str]]:
    """Return a column for each part of the names, and which of their titles are shortened."""
    columns, shortened = dict(asked), {}
    for name in parts:
        values = [row.design.parts.get(name, MISSING) for row in rows]
        ending = _shared_ending(values)
        title = ending.removeprefix("-") or _short(name)
        if title in columns:
            title = name
        if title not in (name, ending.removeprefix("-")):
            shortened[title] = name
        columns[title] = partial(_part, name=name, ending=ending)
    return columns, shortened


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


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
    """Return the name of an option with the long words before the last cut."""
    *words, last = title.split("_")
    return "_".join([*(word[:3] if len(word) > 6 else word for word in words), last])


def _common(rows: Sequence[Compared], node: str) -> str:
    """Say what all designs have in common: the node, the backend, its model, and the settings."""
    records = [row.design.records[0] for row in rows]
    models = [str(record.cost_model).split(", ") for record in records]
    shared = [part for part in models[0] if all(part in model for model in models)]
    backends = dict.fromkeys(record.backend for record in records)
    described = {accelerator_name(record.backend_options) for record in records}
    one = described.pop() if len(described) == 1 else None
    parts = [*(backends if len(backends) == 1 else ()), *([one] if one else []), *shared]
    parts += Settings(records).shared
    gemms = max(len(row.design.records) for row in rows)
    plural = "" if gemms == 1 else "s"
    designs = len({row.design.label for row in rows})
    number = f"{designs} modelled designs" if designs > 1 else "The modelled design"
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
    return f"Least area × time, {AMONG}: {', '.join(parts)}."


def _accumulators(design: Design) -> str:
    """Name the width of a design's accumulators, which its price depends on."""
    bits = design.records[0].backend_options.get("accumulator_bits")
    said = "accumulator_bits" in design.parts
    return f", {bits}-bit accumulators" if isinstance(bits, int) and not said else ""
