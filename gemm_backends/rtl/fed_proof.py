"""The array behind a memory port: its compute and stall cycles are those of the formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch

from accelsim.errors import InputError
from gemm_backends.cost.accelerator import Accelerator
from gemm_backends.cost.array import Array
from gemm_backends.cost.cycles import Dataflow
from gemm_backends.cost.mapping import ORDERS
from gemm_backends.cost.options import memory_system
from gemm_backends.cost.plan import Planner
from gemm_backends.datapath import Datapath
from gemm_backends.emulator.backend import Emulator
from gemm_backends.rtl import mutants
from gemm_backends.rtl.compare import Disagreement, Integers
from gemm_backends.rtl.fed import Beats, FedShape, ordered, played, simulate
from gemm_backends.rtl.part import Part
from gemm_backends.rtl.tools import FED, PORT, ToolError
from gemm_backends.types import Accumulator, Cost, GemmSpec

CASES = (
    (FedShape(8, 8, 8, 24, 128, 64), 16, 16),  # computing decides
    (FedShape(8, 8, 8, 24, 128, 16), 24, 16),  # 140 clocks of loads and stores beside 142
    (FedShape(8, 8, 8, 32, 128, 16), 16, 24),  # 144 beside 142
    (FedShape(4, 8, 4, 16, 512, 8), 8, 16),
    (FedShape(8, 4, 16, 32, 128, 8), 16, 8),
    (FedShape(8, 8, 8, 64, 128, 2), 24, 8),  # sums are written for longer than a tile takes
    (FedShape(8, 8, 8, 24, 128, 32), 8, 8),  # one tile alone
    (FedShape(8, 8, 8, 24, 131, 1), 19, 13),  # tiles of 8, 8 and 3 by 8 and 5
    (FedShape(4, 8, 8, 32, 131, 4), 17, 9),  # the last ones have a row, or a column
    (FedShape(4, 3, 4, 20, 700, 7), 9, 4),  # 4 and 1 by 3 and 1; beats that are not full
)
"""Arrays, and the rows of A and of B; every tile loads its digits again."""

SRAM_KB = 2

ORDERED = 120
"""GEMMs whose tiles the port puts in order."""


class Timed(NamedTuple):
    """A GEMM's tiles one by one, and what the formulas say of all."""

    tiles: list[Beats]
    cost: Cost
    whole: bool
    "Whether every tile moves whole beats."


def _stalls() -> str:
    for shape, n, h in CASES:
        _compare(shape, n, h)
    return (
        f"{len(CASES)} GEMMs, limited by computing and by the port, with smaller tiles at their "
        "edges: sums = emulator, cycles and stalls = formula, all equal but for one whose tiles do "
        "not move whole beats"
    )


def _orders() -> str:
    timed = list(_drawn())
    for one in timed:
        _compare_order(one)
    whole = sum(one.whole for one in timed)
    return (
        f"{len(timed)} GEMMs in three dataflows, and in tiles of a mapping, with unlike tiles: "
        f"cycles and stalls = a play of the tiles, all equal; = formula in the {whole} whose tiles "
        "move whole beats, else up to a beat more for what a tile moves"
    )


def _mutants() -> str:
    timed = list(_drawn())
    escaped = [mutant.fault for mutant in mutants.PORTS if not _caught_in_order(mutant, timed)]
    escaped += [mutant.fault for mutant in mutants.FED_ARRAYS if not _caught(mutant)]
    if escaped:
        raise Disagreement(f"not caught: {', '.join(escaped)}")
    count = len(mutants.PORTS) + len(mutants.FED_ARRAYS)
    return f"{count} of {count} faulty ports caught"


PARTS = (
    Part("memory port", _stalls),
    Part("order of tiles", _orders),
    Part("mutants of the memory port", _mutants),
)


def _caught(mutant: mutants.Mutant) -> bool:
    sources, top = mutants.variant(mutant, "_m", FED)
    try:
        _compare(*CASES[8], sources, top)
    except (Disagreement, ToolError):
        return True
    return False


def _caught_in_order(mutant: mutants.Mutant, timed: Sequence[Timed]) -> bool:
    sources, top = mutants.variant(mutant, "_m", (PORT,))
    try:
        for one in timed:
            _compare_order(one, sources, top)
    except (Disagreement, ToolError):
        return True
    return False


def _compare(
    shape: FedShape, n: int, h: int, sources: Sequence[Path] = FED, top: str = "fed_array"
) -> None:
    """Compare sums with the emulator's, and cycles with the cost of its memory.

    Raises
    ------
    Disagreement
        If anything differs.
    """
    generator = np.random.default_rng(0)
    low = -(1 << (shape.bits - 1))
    a, b = (generator.integers(low, -low, (rows, shape.k)) for rows in (n, h))
    emulator = Emulator(
        bits=shape.bits,
        accumulator_bits=shape.width,
        array=(shape.rows, shape.columns),
        memory={"sram_kb": SRAM_KB, "bandwidth": {"dram": shape.bytes_a_clock}},
    )
    cost = emulator.cost(GemmSpec(shape.bits, shape.bits, n, shape.k, h))
    sizes = [(r.stop - r.start, c.stop - c.start) for r, c in shape.tiles(n, h)]
    loads = sum(shape.k * (rows + columns) * shape.bits / 8 for rows, columns in sizes)
    if cost.traffic["dram"]["a"] + cost.traffic["dram"]["b"] != loads:
        raise Disagreement(f"{shape}: the formula does not load every tile again")
    found = simulate(shape, a, b, sources, top)
    if (found.sums != _product(emulator, shape, a, b)).any():
        raise Disagreement(f"{shape}: sums differ")
    clocks = shape.rows + shape.columns + shape.k - 2
    tiles = [Beats(clocks, 0, shape.stores(*size), shape.loads(*size)) for size in sizes]
    moved = sum(tile.stores + tile.loads for tile in tiles) * shape.bytes_a_clock
    whole = moved == sum(cost.traffic["dram"].values())
    _compare_clocks(str(shape), (found.cycles, found.stalls), Timed(tiles, cost, whole))


def _compare_order(timed: Timed, sources: Sequence[Path] = (PORT,), top: str = "tile_port") -> None:
    _compare_clocks(timed.cost.model, ordered(timed.tiles, sources, top), timed)


def _compare_clocks(what: str, found: tuple[int, int], timed: Timed) -> None:
    """Compare simulated cycles and stalls with a play of the tiles, and with the formulas.

    Raises
    ------
    Disagreement
        If anything differs.
    """
    wanted = played(timed.tiles)
    if found != wanted:
        raise Disagreement(f"{what}: {found} cycles and stalls, and {wanted} played")
    cost = timed.cost
    assert cost.cycles is not None
    assert cost.stall_cycles is not None
    most = 0 if timed.whole else 3 * len(timed.tiles)
    for clocks, formula in zip(found, (cost.cycles, cost.stall_cycles), strict=True):
        if not 0 <= clocks - formula <= most:
            raise Disagreement(f"{what}: {clocks} cycles or stalls, and {formula} by the formula")


def _drawn() -> Iterator[Timed]:
    """Draw small GEMMs on small arrays, as the formulas see them and tile by tile."""
    draw = Random(0)
    flows: Sequence[Dataflow] = ("output-stationary", "weight-stationary", "input-stationary")
    found = 0
    while found < ORDERED:
        n, d, h = (draw.randint(1, 140) for _ in range(3))
        mapping: Any = "default"
        if draw.random() < 0.4:
            tile = {name: draw.randint(1, 30) for name in "ndh"}
            mapping = {"tile": tile, "order": list(draw.choice(ORDERS))}
        bandwidth = draw.choice([1, 2, 4, 8, 13, 32])
        memory = {
            "sram_kb": {name: draw.choice([2, 2, 4, 64]) for name in "abc"},
            "bandwidth": {"dram": bandwidth},
            "word_bits": draw.choice([8, 16, 32]),
            "mapping": mapping,
        }
        system = memory_system(memory)
        assert system is not None
        path = Datapath(Accumulator(32, "wrap"))
        array = Array(draw.choice([(8, 4), (4, 16)]), draw.choice(flows), False, (8, 8), path)
        try:
            cost = Accelerator(array, system).product(n, d, h)
        except InputError:  # the SRAM does not hold the tile
            continue
        found += 1
        each = Planner(array, system).each(n, d, h)
        beats = [
            Beats(clocks, *(math.ceil(size / bandwidth) for size in sizes))
            for clocks, *sizes in each
        ]
        whole = all(size % bandwidth == 0 for _, *sizes in each for size in sizes)
        yield Timed(beats, cost, whole)


def _product(emulator: Emulator, shape: FedShape, a: Integers, b: Integers) -> Integers:
    dtype = torch.int8 if shape.bits <= 8 else torch.int16
    x, y = (torch.from_numpy(digits).to(dtype) for digits in (a, b))
    return np.asarray(emulator.multiply(x, y).numpy(), np.int64)
