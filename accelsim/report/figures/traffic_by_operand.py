"""Traffic to and from DRAM in modelled accelerators, as stacked bars by operand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.report.cells import count
from accelsim.report.described import Described
from accelsim.report.figures.choosing import thin
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.frame import design_frame
from accelsim.report.figures.sheet import stacked_bars

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_BARS = 24

OPERANDS = {
    "a": "A", "b": "B", "c_read": "C read", "c_write": "C written", "front_end": "front end",
    "maps": "maps",
}  # fmt: skip
"""The parts of a record's traffic, and what the figure calls them."""


def traffic_by_operand(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw a bar of bytes for each design, all GEMMs together."""
    designs, parts = design_frame(runs)
    if len(designs):
        designs = designs[[d.dram_bytes is not None for d in designs["design"]]]
    if not len(designs):
        raise NothingToDrawError("no modelled accelerator has a memory")
    bars = {}
    shown, left = thin(designs, ["asked", *parts], MOST_BARS)
    for design, asked, label in zip(shown["design"], shown["asked"], shown["label"], strict=True):
        name = ", ".join(filter(None, (asked, label)))
        bars[name] = {
            words: sum(r.traffic["dram"].get(key, 0.0) for r in design.records)
            for key, words in OPERANDS.items()
        }
    totals = {name: sum(sizes.values()) for name, sizes in bars.items()}
    least, most = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    return Figure(
        "traffic-by-operand",
        "DRAM traffic by operand",
        f"Stacked bars of {len(bars)} designs. The least traffic is {count(round(totals[least]))}B "
        f"({least}), the most {count(round(totals[most]))}B ({most}).",
        "Bytes from and to DRAM for all GEMMs: the digits of A and B, the partial sums of C "
        "read and written, the original floats that the front end reads and the digits that it "
        f"writes, and the maps of unpacked lines.{left}",
        stacked_bars(width, bars, list(OPERANDS.values()), "DRAM traffic of all GEMMs", "B"),
    )
