"""The table that a run ends with."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from accelsim.measure.ratios import explain_doubts
from accelsim.records import Record
from accelsim.report.cells import printable
from accelsim.report.differences import busy
from accelsim.report.hardware import hardware
from accelsim.report.line import Line
from accelsim.report.problems import failures, not_run, place, verdict
from accelsim.report.settings import Settings
from accelsim.report.summary_rows import Columns
from accelsim.report.words import (
    explain_choices,
    explain_gemms,
    explain_rounding,
    explain_strategies,
)

WIDTH = 80
"""Largest width of a line of text; a table is as wide as its numbers need."""

MOST_LINES = 100
"""From more lines than this, sums over the GEMMs of a kind are shown instead."""

EXECUTION = {
    "emulated": "a model in software did the work, so its times are not the hardware's",
    "fallback": "slower instructions than the backend's own did the work",
}


def summary(records: Iterable[Record], folder: Path = Path()) -> str:
    """Return everything that a run found: exactness, operation counts and times.

    For every GEMM and setting there is one line per backend, or per strategy where one backend runs
    several, then, if there are several GEMMs, their sums; then what modelled accelerators would
    take; then every record that is not ok with its reason; the verdict comes last.

    Parameters
    ----------
    records : iterable of Record
        The records of one run.
    folder : Path
        The run's folder, from where the reader is.

    Returns
    -------
    str
        Text with a line end; at most 80 columns unless the names of backends are long.
    """
    records = tuple(records)
    ran = [record for record in records if record.status.ran]
    lines: list[str] = []
    if ran:
        lines += _table(ran, records)
        lines += hardware(records)
    lines += _problems(records, folder)
    lines += ["", *_wrap(verdict(records), hanging=False)]
    while not lines[0]:
        del lines[0]
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def _table(ran: Sequence[Record], records: Sequence[Record]) -> list[str]:
    columns = Columns(ran)
    settings = Settings(records, columns.labels.fields)
    shared = settings.shared
    if columns.labels.kind != "backend":
        shared = [f"backend {columns.labels.backend(ran[0])}", *shared]
    groups = _groups(ran, lambda record: place(record, settings))
    body = _lines(groups, columns, summed=False)
    if _are_several(ran):
        if _are_many(body):
            kinds = _groups(ran, lambda record: _kind(record, settings))
            body = _lines(kinds, columns, summed=True)
        sums = _groups(ran, lambda record: ", ".join(["All GEMMs", *settings.sweep(record)]))
        body |= _lines(sums, columns, summed=True)
    head, lines_of = columns.layout(list(body.values()))
    chosen = groups.keys() <= body.keys() and columns.labels.kind == "backend"
    lines = [""]
    if shared:
        lines += _wrap(f"Everywhere: {', '.join(shared)}.")
    if not groups.keys() <= body.keys():
        lines += _wrap(
            f"There are {len(groups)} GEMMs and settings; here are the sums over those of a kind."
        )
    lines += ["", *head]
    for heading, rows in zip(body, lines_of, strict=True):
        lines += [*_wrap(heading), *rows]
    return [*lines, "", *_notes(ran, columns, chosen)]


def has_every_gemm(records: Iterable[Record]) -> bool:
    """Whether `summary` has every GEMM, and not the sums over those of a kind.

    Parameters
    ----------
    records : iterable of Record
        The records of one run.
    """
    records = tuple(records)
    ran = [record for record in records if record.status.ran]
    columns = Columns(ran)
    settings = Settings(records, columns.labels.fields)
    groups = _groups(ran, lambda record: place(record, settings))
    return not (_are_several(ran) and _are_many(_lines(groups, columns, summed=False)))


def _are_several(ran: Sequence[Record]) -> bool:
    return len({(record.workload, record.gemm) for record in ran}) > 1


def _are_many(body: dict[str, list[Line]]) -> bool:
    return sum(map(len, body.values())) > MOST_LINES


def _lines(
    groups: dict[str, list[Record]], columns: Columns, summed: bool
) -> dict[str, list[Line]]:
    return {
        heading: [Line(same, summed) for same in _groups(members, columns.labels.of).values()]
        for heading, members in groups.items()
    }


def _groups(records: Iterable[Record], label: Callable[[Record], str]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[label(record)].append(record)
    return groups


def _kind(record: Record, settings: Settings) -> str:
    """Name the kind of GEMM that a whole model has many of."""
    return ", ".join([record.workload, record.op, record.phase, *settings.sweep(record)])


def _notes(ran: Sequence[Record], columns: Columns, chosen: bool) -> list[str]:
    repeats = [times.repeats for record in ran for times in record.time_ms.values()]
    terms = {
        "n×d×h": "A is [n, d], B is [h, d]",
        **(explain_choices(ran) if chosen else {}),
        **explain_strategies(ran),
        **explain_gemms(ran),
        **explain_rounding(ran),
        "exact": "every integer of the product equals the oracle's",
        "r": "low-bit multiplications over those of the GEMM",
        "MACs": "low-bit multiply-adds",
    }
    if repeats:
        low, high = min(repeats), max(repeats)
        terms["time"] = f"median of {low if low == high else f'{low} to {high}'} repeats"
        if any(record.timing is not None and not record.timing.warmup for record in ran):
            terms["time"] += "; without warm-up the first may include compilation"
        terms["total"] = "median of the totals; medians of stages need not add up to it"
    for name in columns.baselines:
        terms[f"×{name}"] = f"time of the {name} GEMM over total; above 1 is faster than {name}"
    terms |= explain_doubts(Line([r]).speedup(name) for r in ran for name in columns.baselines)
    width = max(map(len, terms))
    lines = [
        line
        for term, meaning in terms.items()
        for line in textwrap.wrap(
            f"{term:{width}}  {meaning}", WIDTH, subsequent_indent=" " * (width + 2)
        )
    ]
    lines += columns.labels.notes()
    if said := busy(ran):
        lines += _wrap(
            f"This {said}, so the times are longer than on a quiet one, and ratios can be wrong."
        )
    for execution, words in EXECUTION.items():
        backends = dict.fromkeys(record.backend for record in ran if record.execution == execution)
        if backends:
            lines += _wrap(f"* {', '.join(backends)}: {execution}; {words}.")
    return lines


def _problems(records: Sequence[Record], folder: Path) -> list[str]:
    """List the records that are not ok: each that failed, and by reason those that did not run."""
    sections = {"Failed:": failures(records, folder), "Did not run:": not_run(records)}
    return [
        line
        for title, section in sections.items()
        if section
        for line in ["", title, *(line for words in section for line in _wrap(words))]
    ]


def _wrap(words: str, hanging: bool = True) -> list[str]:
    indent = "    " if hanging else ""
    return textwrap.wrap(
        words, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
