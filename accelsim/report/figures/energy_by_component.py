"""The energy of modelled accelerators by component, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.described import Described
from accelsim.report.design_columns import NOT_IN_ENERGY
from accelsim.report.figures.choosing import thin
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import design_frame
from accelsim.report.figures.sheet import stacked_bars

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_BARS = 24


def energy_by_component(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw a bar for each design, with the components that have an energy for every GEMM."""
    designs, parts = design_frame(runs)
    if len(designs):
        designs = designs[[any(r.energy_by for r in d.records) for d in designs["design"]]]
    if not len(designs):
        raise NothingToDrawError("no record has energy_by")
    fields = ["asked", *parts]
    shown, left = thin(designs, fields, MOST_BARS)
    components = list(
        dict.fromkeys(part for d in shown["design"] for r in d.records for part in r.energy_by)
    )
    bars, notes = {}, {}
    for design, asked, label in zip(shown["design"], shown["asked"], shown["label"], strict=True):
        name = ", ".join(filter(None, (asked, label)))
        known = {part: design.energy_of(part) for part in components}
        bars[name] = {part: value for part, value in known.items() if value is not None}
        if design.energy is None:
            notes[name] = "+ ?"
    totals = {name: sum(sizes.values()) for name, sizes in bars.items()}
    least, most = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    largest = max(bars[most], key=bars[most].__getitem__)
    titles = {part: part.replace("_", "-") for part in components}
    bars = {name: {titles[part]: value for part, value in of.items()} for name, of in bars.items()}
    unknown = (
        " Where “+ ?” stands the energy of some components, such as multipliers of a width that "
        "no source has, is unknown."
        if notes
        else ""
    )
    return Figure(
        "energy-by-component",
        "Energy by component",
        f"Stacked bars of {len(bars)} designs. The least energy is {totals[least]:.3g} J "
        f"({least}), the most {totals[most]:.3g} J ({most}), where {largest} takes "
        f"{bars[most][titles[largest]] / totals[most]:.0%}.",
        "Joules of each component, summed over all GEMMs, by the models whose sources the records "
        f"name (cost_basis), {NOT_IN_ENERGY}.{unknown}{left}",
        stacked_bars(width, bars, list(titles.values()), "energy of all GEMMs", "J", notes=notes),
    )
