"""What the modelled accelerators would take for all GEMMs of a run, and which takes the least."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accelsim.arithmetic.totals import total
from accelsim.records import Record, Status
from accelsim.report.cells import MISSING, count, number
from accelsim.report.settings import ASKED, SWEPT, Settings
from accelsim.report.summary_rows import Labels

WIDTH = 80


@dataclass(frozen=True)
class Design:
    """One accelerator with one way of unpacking, on all GEMMs of a run.

    Sums are None where a record lacks the value.

    Parameters
    ----------
    asked : str
        The rounding, which decides what has to be multiplied; only designs of which this is equal
        do the same work.
    label : str
        The settings that tell designs apart, and the backend.
    records : sequence of Record
        One for each GEMM.
    """

    asked: str
    label: str
    records: Sequence[Record]

    @property
    def is_modelled(self) -> bool:
        """Whether the cycles of a GEMM are known."""
        return any(record.cycles is not None for record in self.records)

    @property
    def exact(self) -> int:
        """How many products are exact."""
        return sum(record.status is Status.OK for record in self.records)

    @property
    def low_bit_macs(self) -> float | None:
        """Low-bit multiply-adds."""
        return total(record.low_bit_macs for record in self.records)

    @property
    def shift_adds(self) -> float | None:
        """Additions of shifted products."""
        return total(record.shift_adds for record in self.records)

    @property
    def cycles(self) -> float | None:
        """Clock cycles, shift-adds included where they are modelled."""
        return total(record.cycles for record in self.records)

    @property
    def utilization(self) -> float | None:
        """Share of the multipliers' cycles in which they had a low-bit multiplication to do."""
        busy = total(
            None if r.utilization is None or r.cycles is None else r.utilization * r.cycles
            for r in self.records
        )
        return busy / self.cycles if busy is not None and self.cycles else None

    @property
    def relative_area(self) -> float | None:
        """Area of the accelerator over that of its reference."""
        return self.records[0].relative_area

    @property
    def area_time(self) -> float | None:
        """Relative area times cycles."""
        return total(record.area_time for record in self.records)

    @property
    def energy(self) -> float | None:
        """Energy in joules."""
        return total(record.energy for record in self.records)


def designs(records: Sequence[Record]) -> list[Design]:
    """Return the designs of a run whose cycles are modelled for at least one GEMM."""
    return [design for design in _all_designs(records) if design.is_modelled]


def _unfinished(found: Sequence[Design]) -> list[Design]:
    """Return the designs of modelled accelerators that failed on every GEMM, so without figures."""
    modelled = {design.records[0].backend for design in found if design.is_modelled}
    return [
        design
        for design in found
        if not design.is_modelled
        and design.records[0].backend in modelled
        and all(record.status.failed for record in design.records)
    ]


def _all_designs(records: Sequence[Record]) -> list[Design]:
    settings, labels = Settings(records), Labels(records)
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        asked = ", ".join(settings.sweep(record, ASKED))
        swept = settings.sweep(record, [field for field in SWEPT if field not in ASKED])
        groups[asked, ", ".join([*swept, labels.backend(record)])].append(record)
    return [Design(asked, label, members) for (asked, label), members in groups.items()]


def cheapest(found: Sequence[Design]) -> Design | None:
    """Return the design with the least area x time of those that are exact on every GEMM."""
    exact = [d for d in found if d.exact == len(d.records) and d.area_time is not None]
    return min(exact, key=lambda design: design.area_time or 0, default=None)


def hardware(records: Sequence[Record]) -> list[str]:
    """Return the lines of a table of all designs, the cheapest named; none if nothing is modelled.

    Parameters
    ----------
    records : sequence of Record
        Those of one run.
    """
    every = _all_designs(records)
    found = [design for design in every if design.is_modelled]
    if not found:
        return []
    groups: dict[str, list[Design]] = defaultdict(list)
    for design in found:
        groups[design.asked].append(design)
    cells, best = [list(_COLUMNS)], {}
    for asked, members in groups.items():
        best[asked] = cheapest(members)
        least = best[asked].area_time if best[asked] else None  # type: ignore[union-attr]
        cells += [[show(design, least) for show in _COLUMNS.values()] for design in members]
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
            table.append(f"  The least area x time, and exact: {winner.label}.")
    failed = [
        f"No figures, as no product was finished: {', '.join(filter(None, (d.asked, d.label)))} "
        f"({', '.join(dict.fromkeys(record.status for record in d.records))})."
        for d in _unfinished(every)
    ]
    table += [line for words in failed for line in textwrap.wrap(words, WIDTH)]
    return ["", "The modelled accelerators, all GEMMs together:", "", *table, "", *_notes(found)]


def _notes(found: Sequence[Design]) -> list[str]:
    records = [record for design in found for record in design.records if record.cost_model]
    lines = [
        "cycles     of the products and of the shift-adds",
        "use        share of them in which a multiplier had a multiplication to do",
        "area       of the whole array, relative; area·time is area times cycles, and the",
        "           last column that over the least of the exact designs",
    ]
    models = dict.fromkeys(record.cost_model for record in records)
    basis = dict.fromkeys(
        f"{name.replace('_', ' ')}: {words}"
        for record in records
        for name, words in record.cost_basis.items()
    )
    for words in ["Model: " + "; ".join(map(str, models)) + ".", *basis]:
        lines += textwrap.wrap(words, WIDTH, subsequent_indent="    ")
    return lines


def _count(value: float | None) -> str:
    return MISSING if value is None else count(round(value))


def _exact(design: Design) -> str:
    return f"{design.exact}/{len(design.records)}"


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"


def _over_least(design: Design, least: float | None) -> str:
    value = design.area_time
    return MISSING if value is None or not least else f"{value / least:.2f}"


_COLUMNS: dict[str, Callable[[Design, float | None], str]] = {
    "": lambda design, _: design.label,
    "exact": lambda design, _: _exact(design),
    "MACs": lambda design, _: _count(design.low_bit_macs),
    "shift-adds": lambda design, _: _count(design.shift_adds),
    "cycles": lambda design, _: _count(design.cycles),
    "use": lambda design, _: _share(design.utilization),
    "area": lambda design, _: (
        MISSING if design.relative_area is None else number(design.relative_area)
    ),
    "area·time": lambda design, _: _count(design.area_time),
    "/least": _over_least,
    "energy, J": lambda design, _: MISSING if design.energy is None else number(design.energy),
}
