"""The formulas of this package beside SCALE-Sim 3, quantity by quantity.

``python -m gemm_backends.cost.scalesim_comparison FOLDER`` reads ``FOLDER/simulated.csv``, which
`gemm_backends.cost.scalesim` writes, and writes ``comparison.csv``, ``table.md`` and
``comparison.png`` beside it. With a second argument, the interpreter that has SCALE-Sim, it prints
how many cycles a second both get through.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gemm_backends import GemmBackend, GemmSpec, load_backend
from gemm_backends.cost.scalesim import SHAPES, Simulated, read, simulate

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
class Said:
    """The cost model's results for a GEMM, in words.

    Parameters
    ----------
    compute_cycles, cycles : float
        Without and with stalls.
    dram_a, dram_b, dram_c : float
        Words read from DRAM, and written there.
    sram_a, sram_b, sram_c : float
        Words that the array reads, and that leave it.
    """

    compute_cycles: float
    cycles: float
    dram_a: float
    dram_b: float
    dram_c: float
    sram_a: float
    sram_b: float
    sram_c: float


@dataclass(frozen=True)
class Compared:
    """A GEMM with the model's results.

    Parameters
    ----------
    simulated : Simulated
        What SCALE-Sim says.
    alike : Said
        The model in SCALE-Sim's way: no limit to the bandwidth where SCALE-Sim estimates what it
        needs, else ``prefetch: scalesim``.
    own : Said
        The model's own way: what a tile needs is loaded ahead, at three times the bandwidth of an
        operand.
    """

    simulated: Simulated
    alike: Said
    own: Said

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
    def held_in_place(self) -> bool:
        """Whether an operand stays in place."""
        return self.simulated.dataflow != "output-stationary"


def compare(simulated: Simulated) -> Compared:
    """Ask the cost model for what SCALE-Sim simulated."""
    own = ask(simulated)
    given = simulated.bandwidth is not None
    return Compared(simulated, ask(simulated, "scalesim") if given else own, own)


def ask(simulated: Simulated, prefetch: str = "tiles") -> Said:
    """Ask the cost model for what SCALE-Sim simulated, with one way of prefetching."""
    return answer(simulated, model(simulated, prefetch))


def model(s: Simulated, prefetch: str) -> GemmBackend:
    """Return the emulator with SCALE-Sim's array and memories."""
    bandwidth = {} if s.bandwidth is None else {"dram": 3 * s.bandwidth * WORD_BITS // 8}
    memory = {
        "sram_kb": s.sram_kb,
        "word_bits": WORD_BITS,
        "bandwidth": bandwidth,
        "prefetch": prefetch,
    }
    array = [s.rows, s.columns]
    return load_backend("emulator", bits=8, array=array, dataflow=s.dataflow, memory=memory)


def answer(s: Simulated, backend: GemmBackend) -> Said:
    """Ask a model for what SCALE-Sim simulated."""
    cost = backend.cost(GemmSpec(8, 8, s.n, s.d, s.h))
    assert cost is not None
    assert cost.cycles is not None
    assert cost.stall_cycles is not None
    dram, sram = cost.traffic["dram"], cost.traffic["sram"]
    return Said(
        cost.cycles - cost.stall_cycles,
        cost.cycles,
        *(dram[name] for name in ("a", "b", "c_write")),
        *(sram[name] for name in ("a", "b", "c_write")),
    )


Quantity = tuple[str, Callable[[Compared], bool], Callable[[Compared], Pair]]

AGREES: Sequence[Quantity] = (
    (
        "cycles without stalls, SCALE-Sim's + 1",
        lambda c: True,
        lambda c: Pair(c.alike.compute_cycles, c.simulated.cycles - c.simulated.stalls + 1),
    ),
    (
        "cycles with stalls, SCALE-Sim's + 1",
        lambda c: True,
        lambda c: Pair(c.alike.cycles, c.simulated.cycles + 1),
    ),
    (
        "words of A from DRAM",
        lambda c: True,
        lambda c: Pair(c.alike.dram_a, c.simulated.dram_a),
    ),
    (
        "words of B from DRAM, weight- and input-stationary",
        lambda c: c.held_in_place,
        lambda c: Pair(c.alike.dram_b, c.simulated.dram_b),
    ),
    (
        "words of B from DRAM, output-stationary, bandwidth given",
        lambda c: not c.estimated and not c.held_in_place,
        lambda c: Pair(c.alike.dram_b, c.simulated.dram_b),
    ),
    (
        "sums written to DRAM, bandwidth given",
        lambda c: not c.estimated,
        lambda c: Pair(c.alike.dram_c, c.simulated.dram_c),
    ),
    ("words of A from SRAM", lambda c: True, lambda c: Pair(c.alike.sram_a, c.simulated.sram_a)),
    ("words of B from SRAM", lambda c: True, lambda c: Pair(c.alike.sram_b, c.simulated.sram_b)),
    (
        "sums that leave the array",
        lambda c: True,
        lambda c: Pair(c.alike.sram_c, c.simulated.dram_c),
    ),
)
"""The quantities that must agree: name, GEMMs, and both values."""

DIFFERS: Sequence[Quantity] = (
    (
        "words of B from DRAM, output-stationary, bandwidth estimated",
        lambda c: c.estimated and not c.held_in_place,
        lambda c: Pair(c.alike.dram_b, c.simulated.dram_b),
    ),
    (
        "own way: words of A and B from DRAM, bandwidth given",
        lambda c: not c.estimated,
        lambda c: Pair(c.own.dram_a + c.own.dram_b, c.simulated.dram_a + c.simulated.dram_b),
    ),
    (
        "own way: cycles with stalls, bandwidth given, both operands fit",
        lambda c: not c.estimated and c.fits,
        lambda c: Pair(c.own.cycles, c.simulated.cycles + 1),
    ),
    (
        "own way: cycles with stalls, bandwidth given, an operand does not fit",
        lambda c: not c.estimated and not c.fits,
        lambda c: Pair(c.own.cycles, c.simulated.cycles + 1),
    ),
)
"""The quantities that differ, for reasons that ``docs/emulator.md`` gives."""


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
    """Draw the model against SCALE-Sim: DRAM traffic and cycles, in its way and in the own."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(9, 8.2), layout="constrained")
    quantities: list[tuple[str, Callable[[Said], float], Callable[[Simulated], float]]] = [
        (
            "words of A and B from DRAM",
            lambda s: s.dram_a + s.dram_b,
            lambda s: s.dram_a + s.dram_b,
        ),
        ("cycles with stalls", lambda said: said.cycles, lambda simulated: simulated.cycles + 1),
    ]
    ways: list[tuple[str, Callable[[Compared], Said]]] = [
        ("SCALE-Sim's way", lambda c: c.alike),
        ("own way", lambda c: c.own),
    ]
    modes = (("bandwidth estimated", True, "o"), ("16 words per cycle and operand", False, "x"))
    for row, (way, said) in zip(grid, ways, strict=True):
        for axes, (title, ours, theirs) in zip(row, quantities, strict=True):
            for label, estimated, marker in modes:
                found = [c for c in compared if c.estimated is estimated]
                axes.scatter(
                    [ours(said(c)) for c in found],
                    [theirs(c.simulated) for c in found],
                    s=14,
                    marker=marker,
                    label=label,
                    alpha=0.6,
                )
            axes.axline((1e3, 1e3), slope=1, linewidth=0.8, color="grey")
            axes.set(xscale="log", yscale="log", xlabel=way, ylabel="SCALE-Sim 3", title=title)
    grid[0][0].legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


SAMPLE = ("cube-128", "smollm2-linear", "wide")
"""Shapes on which both are timed."""


def speed(python: str) -> list[tuple[str, float, float]]:
    """Time SCALE-Sim and the model on the same GEMMs, one after the other.

    Parameters
    ----------
    python : str
        The interpreter that has SCALE-Sim.

    Returns
    -------
    list of tuple
        For each of its two modes its name, and how many of SCALE-Sim's cycles a second SCALE-Sim
        (without its start) and the model get through.
    """
    shapes = {name: SHAPES[name] for name in SAMPLE}
    found = []
    for mode, bandwidth in (("bandwidth estimated", None), ("bandwidth given", 16)):
        start = time.perf_counter()
        simulate(python, {"one": (1, 1, 1)}, "output-stationary", 32, bandwidth)
        begun = time.perf_counter()
        simulated = simulate(python, shapes, "output-stationary", 32, bandwidth)
        seconds = (time.perf_counter() - begun) - (begun - start)
        cycles = sum(each.cycles for each in simulated)
        way = "tiles" if bandwidth is None else "scalesim"
        models = [(each, model(each, way)) for each in simulated]
        found.append((mode, cycles / seconds, cycles / _median_seconds(models)))
    return found


def _median_seconds(models: Sequence[tuple[Simulated, GemmBackend]]) -> float:
    """Return the median time in which the model answers for all GEMMs."""
    return statistics.median(
        timeit.repeat(lambda: [answer(*pair) for pair in models], number=1, repeat=50)
    )


def main(folder: Path) -> None:
    """Compare ``folder/simulated.csv`` and write the results beside it."""
    compared = [compare(each) for each in read(folder / "simulated.csv")]
    (folder / "table.md").write_text(table(compared))
    write_rows(folder / "comparison.csv", compared)
    draw(folder / "comparison.png", compared)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    for mode, theirs, ours in speed(sys.argv[2]) if len(sys.argv) > 2 else ():
        times = f"{ours / theirs:.0f} times as many"
        print(f"{mode}: SCALE-Sim {theirs:.3g} cycles a second, here {ours:.3g}, {times}")
