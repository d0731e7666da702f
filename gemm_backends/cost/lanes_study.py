"""At which b, and with how many correction lanes, area x time and energy x delay are least.

``python -m gemm_backends.cost.lanes_study FOLDER`` reads the records of a run of
``configs/correction-lanes.yaml`` and writes ``lanes.md`` and ``lanes.png`` beside them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import InputError

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Design:
    """An array with some lanes, on all GEMMs of a run at one beta.

    Parameters
    ----------
    beta, bits, lanes : int
        What it is.
    memory : bool
        Whether SRAM and DRAM are around it.
    cycles, energy : float
        Sums over all GEMMs, each unpacked in the way that takes the fewest cycles; the energy is in
        joules.
    area : float
        In places of an 8-bit array.
    lane_share : float
        Share of the GEMMs that go through the lanes.
    """

    beta: int
    bits: int
    lanes: int
    memory: bool
    cycles: float
    energy: float
    area: float
    lane_share: float

    @property
    def area_time(self) -> float:
        """Area times cycles."""
        return self.area * self.cycles

    @property
    def energy_delay(self) -> float:
        """Energy times cycles."""
        return self.energy * self.cycles


def designs(records: Iterable[Record]) -> list[Design]:
    """Sum up a run.

    Raises
    ------
    InputError
        If a product is not exact.
    """
    found: dict[tuple[int, int, int, bool], dict[tuple[str, str], list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in records:
        if record["status"] not in ("ok", "counted"):
            raise InputError(f"{record['gemm']}: {record['status']}, {record['reason']}")
        options = record["backend_options"]
        memory = options["memory"] != "none"
        key = round(record["beta"]), record["bits"], options["correction_lanes"], memory
        found[key][record["workload"], record["gemm"]].append(record)
    return [_design(*key, list(gemms.values())) for key, gemms in sorted(found.items())]


def _design(
    beta: int, bits: int, lanes: int, memory: bool, gemms: Sequence[Sequence[Record]]
) -> Design:
    best = [min(ways, key=lambda record: record["cycles"]) for ways in gemms]
    return Design(
        beta,
        bits,
        lanes,
        memory,
        sum(record["cycles"] for record in best),
        sum(record["energy"] for record in best),
        best[0]["relative_area"],
        sum(lanes > 0 and record["strategy"] == "block" for record in best) / len(best),
    )


MEASURES = {"area x time": "area_time", "energy x delay": "energy_delay"}


def table(found: Sequence[Design]) -> str:
    """Write what every design takes beside 8 bits without lanes, as Markdown."""
    parts = []
    for memory in sorted({design.memory for design in found}):
        for title, measure in MEASURES.items():
            where = "with memory" if memory else "the array alone"
            parts.append(f"### {title[0].upper()}{title[1:]}, {where}\n")
            parts += _lines([d for d in found if d.memory == memory], measure)
            parts.append("")
    return "\n".join(parts)


def _lines(found: Sequence[Design], measure: str) -> list[str]:
    widths = sorted({design.bits for design in found})
    lines = [f"| β | lanes | {' | '.join(map(str, widths))} |", "|---" * (len(widths) + 2) + "|"]
    for beta in sorted({design.beta for design in found}):
        own = {(d.lanes, d.bits): getattr(d, measure) for d in found if d.beta == beta}
        whole, least = own[0, 8], min(own.values())
        for lanes in sorted({lanes for lanes, _ in own}):
            cells = [_cell(own[lanes, bits], whole, least) for bits in widths]
            lines.append(f"| {beta} | {lanes or 'none'} | {' | '.join(cells)} |")
    return lines


def _cell(value: float, whole: float, least: float) -> str:
    text = f"{value / whole:.2f}"
    return f"**{text}**" if value == least else text


def figure(found: Sequence[Design], path: Path) -> None:
    """Draw both measures against b, one curve for each number of lanes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    counts = sorted({design.lanes for design in found})
    betas = sorted({design.beta for design in found})
    rows = [(m, memory) for memory in (False, True) for m in MEASURES]
    drawn, axes = plt.subplots(
        len(rows), len(betas), figsize=(3.4 * len(betas), 2.6 * len(rows)), squeeze=False
    )
    for row, (title, memory) in zip(axes, rows, strict=True):
        for axis, beta in zip(row, betas, strict=True):
            own = [d for d in found if d.beta == beta and d.memory == memory]
            whole = next(getattr(d, MEASURES[title]) for d in own if (d.lanes, d.bits) == (0, 8))
            for lanes in sorted({d.lanes for d in own}):
                curve = [d for d in own if d.lanes == lanes]
                values = [getattr(d, MEASURES[title]) / whole for d in curve]
                label = f"{lanes} lanes" if lanes else "no lanes"
                colour, style = f"C{counts.index(lanes)}", "-o" if lanes else "--o"
                axis.plot([d.bits for d in curve], values, style, color=colour, label=label, ms=3)
            axis.axhline(1, color="0.8", zorder=0)
            axis.set_yscale("log")
            for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                ticks(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.tick_params(labelsize=7, which="both")
            axis.set_xticks(sorted({d.bits for d in own}))
            axis.set_title(f"β = {beta}, {'with memory' if memory else 'array alone'}", size=9)
        row[0].set_ylabel(f"{title}\n(8 bits, no lanes: 1)", size=8)
        row[0].legend(fontsize=6)
    for axis in axes[-1]:
        axis.set_xlabel("b")
    drawn.tight_layout()
    drawn.savefig(path, dpi=130)
    plt.close(drawn)


def main(folder: Path) -> None:
    """Read a run, and write the table and the figure."""
    lines = (folder / "records.jsonl").read_text().splitlines()
    found = designs(map(json.loads, lines))
    (folder / "lanes.md").write_text(table(found))
    figure(found, folder / "lanes.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
