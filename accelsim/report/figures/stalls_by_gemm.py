"""The share of its cycles in which each GEMM waits for memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.records import Record
from accelsim.report.described import Described
from accelsim.report.designs import Design
from accelsim.report.figures.choosing import chosen, left_out
from accelsim.report.figures.figure import PALETTE, Figure, NothingToDrawError
from accelsim.report.figures.frame import design_frame
from accelsim.report.figures.sheet import MARKERS, legend

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_GEMMS = 30
MOST_DESIGNS = 6

_BESIDE = 4.5


def stalls_by_gemm(data: DataFrame, runs: Sequence[Described], width: float) -> Figure:
    """Draw the share of stalls for each GEMM, in the order of the model, a mark for each design."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import PercentFormatter

    designs, _ = design_frame(runs)
    if len(designs):
        designs = designs[[d.stall_share is not None for d in designs["design"]]]
    if not len(designs):
        raise NothingToDrawError("no modelled accelerator has a memory")
    shown, left = _cheapest(designs)
    every = list(dict.fromkeys(r.gemm for d in designs["design"] for r in d.records))
    gemms = chosen(every, MOST_GEMMS)
    left += left_out("the GEMM", gemms, every)
    beside = width >= _BESIDE
    each = 0.24 if beside else 0.4
    canvas = Canvas(figsize=(width, 1.0 + each * len(gemms)), layout="constrained")
    axes = canvas.subplots()
    named = zip(shown["asked"], shown["label"], shown["design"], strict=True)
    for index, (asked, label, design) in enumerate(named):
        shares = _shares(design)
        places = [place for place, gemm in enumerate(gemms) if gemm in shares]
        axes.plot(
            [shares[gemms[place]] for place in places], places, MARKERS[index % len(MARKERS)],
            color=PALETTE[index % len(PALETTE)], markersize=6, alpha=0.85,
            label=", ".join(filter(None, (asked, label))) or "design",
        )  # fmt: skip
    if not beside:
        for place, gemm in enumerate(gemms):
            axes.text(0, place - 0.2, gemm, va="bottom", ha="left", fontsize="x-small")
    axes.set_yticks(range(len(gemms)), gemms if beside else [""] * len(gemms))
    axes.set(
        xlabel="stalls, share of the cycles", xlim=(-0.02, 1.02), ylim=(len(gemms) - 0.5, -0.8)
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    legend(canvas)
    most, least = (
        pick(zip(designs["stall"], designs["label"], strict=True))
        for pick in (max, min)
        for designs in [shown.assign(stall=[d.stall_share for d in shown["design"]])]
    )
    return Figure(
        "stalls-by-gemm",
        "Stalls by GEMM",
        f"Marks for {len(gemms)} GEMMs and {len(shown)} designs. Over all GEMMs {most[1]} stalls "
        f"in {most[0]:.0%} of its cycles, {least[1]} in {least[0]:.0%}.",
        "The share of the cycles of a GEMM, its products, shift-adds and stalls, in which the "
        f"array waits for memory. GEMMs are in the order of the records.{left}",
        canvas,
    )


def _cheapest(designs: DataFrame) -> tuple[DataFrame, str]:
    """Return the designs with the least area x time, and what to say of the others."""
    if len(designs) <= MOST_DESIGNS:
        return designs, ""
    costs = designs.assign(cost=[design.area_time for design in designs["design"]])
    relative = costs["cost"] / costs.groupby("asked")["cost"].transform("min")
    kept = relative.sort_values(kind="stable").index[:MOST_DESIGNS]
    words = f" Of {len(designs)} designs the {MOST_DESIGNS} with the least area × time are shown."
    return designs.loc[sorted(kept)], words


def _shares(design: Design) -> dict[str, float]:
    """Return the share of stalls for each GEMM by its name."""
    found: dict[str, float] = {}
    for record in design.records:
        if record.gemm not in found and (share := _share(record)) is not None:
            found[record.gemm] = share
    return found


def _share(record: Record) -> float | None:
    if record.stall_cycles is None or not record.cycles:
        return None
    return record.stall_cycles / record.cycles
