"""The table of modelled accelerators on all GEMMs of a run, and the best of them."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence

from accelsim.records import Record
from accelsim.report.cells import MISSING
from accelsim.report.design_columns import COLUMNS, Compared, DesignColumn
from accelsim.report.designs import Design, all_designs, cheapest, unfinished
from accelsim.report.limits import limits
from accelsim.report.summary_rows import Labels

WIDTH = 80


def hardware(records: Sequence[Record]) -> list[str]:
    """Return the lines of a table of all designs, the cheapest named; none if nothing is modelled.

    Parameters
    ----------
    records : sequence of Record
        Those of one run.
    """
    every = all_designs(records)
    found = [design for design in every if design.is_modelled]
    if not found:
        return []
    groups: dict[str, list[Design]] = defaultdict(list)
    for design in found:
        groups[design.asked].append(design)
    cells, best = [["", *(column.title for column in COLUMNS)]], {}
    for asked, members in groups.items():
        best[asked] = cheapest(members)
        least = best[asked].area_time if best[asked] else None  # type: ignore[union-attr]
        cells += [[design.label, *_row(Compared(design, least))] for design in members]
    shown = [i for i, column in enumerate(zip(*cells[1:], strict=True)) if set(column) != {MISSING}]
    widths = [max(len(row[i]) for row in cells) for i in shown]
    head, *lines = (
        " ".join(
            ["  " + row[0].ljust(widths[0])]
            + [row[i].rjust(width) for i, width in zip(shown[1:], widths[1:], strict=True)]
        )
        for row in cells
    )
    table, rest = [head], iter(lines)
    for asked, members in groups.items():
        table += [asked] if asked else []
        table += [next(rest) for _ in members]
        winner = best[asked]
        if winner is not None and len(members) > 1:
            proof = ", and exact" if winner.exact else ""
            table.append(f"  The least area × time{proof}: {winner.label}.")
    failed = [
        f"No figures, as no product was finished: {', '.join(filter(None, (d.asked, d.label)))} "
        f"({', '.join(dict.fromkeys(record.status for record in d.records))})."
        for d in unfinished(every)
    ]
    said = [*failed, *limits(found)]
    table += [line for words in said for line in textwrap.wrap(words, WIDTH)]
    return [
        "",
        "The modelled accelerators, all GEMMs together:",
        "",
        *table,
        "",
        *_notes(found, [COLUMNS[i - 1] for i in shown[1:]]),
    ]


def _row(compared: Compared) -> list[str]:
    values = [column.value(compared) for column in COLUMNS]
    return [
        MISSING if value is None else column.show(value)
        for column, value in zip(COLUMNS, values, strict=True)
    ]


def _notes(found: Sequence[Design], shown: Sequence[DesignColumn]) -> list[str]:
    records = [record for design in found for record in design.records]
    widest = max(len(column.title) for column in shown)
    lines = [
        line
        for column in shown
        for line in textwrap.wrap(
            f"{column.title:<{widest}}  {column.meaning}",
            WIDTH,
            subsequent_indent=" " * (widest + 2),
        )
    ]
    for title, words in sources(records):
        lines += textwrap.wrap(f"{title}: {words}", WIDTH, subsequent_indent="    ")
    return lines


def sources(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return what each modelled accelerator is, and the source of each kind of figure."""
    records = [record for record in records if record.cost_model]
    labels = Labels(records)
    models = dict.fromkeys((labels.backend(record), str(record.cost_model)) for record in records)
    basis = dict.fromkeys(
        (name.replace("_", " "), words)
        for record in records
        for name, words in record.cost_basis.items()
    )
    return [*models, *basis]
