"""The formulas of this package beside SCALE-Sim 3, quantity by quantity.

``python -m gemm_backends.cost.scalesim_comparison FOLDER`` reads ``FOLDER/simulated.csv``, which
`gemm_backends.cost.scalesim` writes, and writes ``comparison.csv``, ``table.md`` and
``comparison.png`` beside it.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gemm_backends import GemmSpec, load_backend
from gemm_backends.cost.scalesim import Simulated, read

WORD_BITS = 8
"""SCALE-Sim counts words; here they are bytes."""


class Pair(NamedTuple):
    """One quantity of one GEMM: the formula's value and SCALE-Sim's."""

    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """Relative difference."""
        return abs(self.ours - self.theirs) / max(1.0, self.theirs)


@dataclass(frozen=True)
class Compared:
    """A GEMM with what the formulas say of it.

    Parameters
    ----------
    simulated : Simulated
        What SCALE-Sim says.
    compute_cycles, cycles : float
        Without and with stalls; the latter at three times the bandwidth of one operand.
    dram_a, dram_b, sums : float
        Words read from DRAM, and words of sums that leave the array.
    sram_a, sram_b : float
        Words that the array reads.
    """

    simulated: Simulated
    compute_cycles: float
    cycles: float
    dram_a: float
    dram_b: float
    sums: float
    sram_a: float
    sram_b: float

    @property
    def estimated(self) -> bool:
        """Whether SCALE-Sim took the bandwidth that it needs (its mode CALC)."""
        return self.simulated.bandwidth is None

    @property
    def fits(self) -> bool:
        """Whether both operands are smaller than half of their SRAM."""
        s = self.simulated
        return max(s.n, s.h) * s.d < s.sram_kb * 1024 / 2

    @property
    def settled(self) -> bool:
        """Whether SCALE-Sim's prefetcher reads nothing twice that it need not."""
        return self.estimated or self.fits

    @property
    def held_in_place(self) -> bool:
        """Whether an operand stays in place."""
        return self.simulated.dataflow != "output-stationary"


def compare(simulated: Simulated) -> Compared:
    """Ask the formulas for what SCALE-Sim simulated."""
    s = simulated
    bandwidth = {} if s.bandwidth is None else {"dram": 3 * s.bandwidth * WORD_BITS // 8}
    memory = {"sram_kb": s.sram_kb, "word_bits": WORD_BITS, "bandwidth": bandwidth}
    array = [s.rows, s.columns]
    backend = load_backend("emulator", bits=8, array=array, dataflow=s.dataflow, memory=memory)
    cost = backend.cost(GemmSpec(8, 8, s.n, s.d, s.h))
    assert cost is not None
    assert cost.cycles is not None
    assert cost.stall_cycles is not None
    dram, sram = cost.traffic["dram"], cost.traffic["sram"]
    return Compared(
        s,
        cost.cycles - cost.stall_cycles,
        cost.cycles,
        dram["a"],
        dram["b"],
        sram["c_write"],
        sram["a"],
        sram["b"],
    )


Quantity = tuple[str, Callable[[Compared], bool], Callable[[Compared], Pair]]

AGREES: Sequence[Quantity] = (
    (
        "cycles without stalls, SCALE-Sim's + 1",
        lambda c: True,
        lambda c: Pair(c.compute_cycles, c.simulated.cycles - c.simulated.stalls + 1),
    ),
    (
        "cycles with stalls, SCALE-Sim's + 1, where its prefetcher is settled",
        lambda c: c.settled,
        lambda c: Pair(c.compute_cycles, c.simulated.cycles + 1),
    ),
    ("words of A from SRAM", lambda c: True, lambda c: Pair(c.sram_a, c.simulated.sram_a)),
    ("words of B from SRAM", lambda c: True, lambda c: Pair(c.sram_b, c.simulated.sram_b)),
    (
        "words of A from DRAM, bandwidth estimated",
        lambda c: c.estimated,
        lambda c: Pair(c.dram_a, c.simulated.dram_a),
    ),
    (
        "words of B from DRAM, bandwidth estimated, weight- and input-stationary",
        lambda c: c.estimated and c.held_in_place,
        lambda c: Pair(c.dram_b, c.simulated.dram_b),
    ),
    ("sums that leave the array", lambda c: True, lambda c: Pair(c.sums, c.simulated.dram_c)),
)
"""What must agree: its name, for which GEMMs, and both values."""

DIFFERS: Sequence[Quantity] = (
    (
        "words of B from DRAM, bandwidth estimated, output-stationary",
        lambda c: c.estimated and not c.held_in_place,
        lambda c: Pair(c.dram_b, c.simulated.dram_b),
    ),
    (
        "words of A and B from DRAM, bandwidth given",
        lambda c: not c.estimated,
        lambda c: Pair(c.dram_a + c.dram_b, c.simulated.dram_a + c.simulated.dram_b),
    ),
    (
        "cycles with stalls, bandwidth given, an operand does not fit",
        lambda c: not c.settled,
        lambda c: Pair(c.cycles, c.simulated.cycles),
    ),
)
"""What differs, for reasons that ``docs/emulator.md`` gives."""


def pairs(quantity: Quantity, compared: Iterable[Compared]) -> list[Pair]:
    """Return both values for every GEMM that a quantity is for."""
    _, applies, values = quantity
    return [values(each) for each in compared if applies(each)]


def table(compared: Sequence[Compared]) -> str:
    """Return the comparison as a table in Markdown."""
    lines = ["| quantity | GEMMs | equal | median difference | worst |", "|---|---|---|---|---|"]
    for quantity in (*AGREES, *DIFFERS):
        found = pairs(quantity, compared)
        differences = [pair.difference for pair in found]
        equal = sum(pair.ours == pair.theirs for pair in found)
        median, worst = statistics.median(differences), max(differences)
        lines.append(f"| {quantity[0]} | {len(found)} | {equal} | {median:.2%} | {worst:.2%} |")
    return "\n".join([*lines, ""])


def write_rows(path: Path, compared: Sequence[Compared]) -> None:
    """Write both values of every quantity for every GEMM."""
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(
            ["name", "dataflow", "sram_kb", "bandwidth", "quantity", "formula", "scalesim"]
        )
        for name, applies, values in (*AGREES, *DIFFERS):
            for each in compared:
                if applies(each):
                    s = each.simulated
                    writer.writerow(
                        [s.name, s.dataflow, s.sram_kb, s.bandwidth, name, *values(each)]
                    )


def draw(path: Path, compared: Sequence[Compared]) -> None:
    """Draw the formulas against SCALE-Sim: DRAM traffic and cycles, by its two modes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    panels: list[tuple[str, Callable[[Compared], Pair]]] = [
        (
            "words of A and B from DRAM",
            lambda c: Pair(c.dram_a + c.dram_b, c.simulated.dram_a + c.simulated.dram_b),
        ),
        ("cycles with stalls", lambda c: Pair(c.cycles, c.simulated.cycles + 1)),
    ]
    modes = (("bandwidth estimated", True, "o"), ("16 words per cycle and operand", False, "x"))
    for axes, (title, values) in zip(both, panels, strict=True):
        for label, estimated, marker in modes:
            found = [values(each) for each in compared if each.estimated is estimated]
            axes.scatter(*zip(*found, strict=True), s=14, marker=marker, label=label, alpha=0.6)
        axes.axline((1e3, 1e3), slope=1, linewidth=0.8, color="grey")
        axes.set(xscale="log", yscale="log", xlabel="formula", ylabel="SCALE-Sim 3", title=title)
    both[0].legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(folder: Path) -> None:
    """Compare ``folder/simulated.csv`` and write the results beside it."""
    compared = [compare(each) for each in read(folder / "simulated.csv")]
    (folder / "table.md").write_text(table(compared))
    write_rows(folder / "comparison.csv", compared)
    draw(folder / "comparison.png", compared)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
