"""The array behind a memory port: its compute and stall cycles are those of the formulas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gemm_backends.emulator.backend import Emulator
from gemm_backends.rtl import mutants
from gemm_backends.rtl.compare import Disagreement, Integers
from gemm_backends.rtl.fed import FedShape, simulate
from gemm_backends.rtl.part import Part
from gemm_backends.rtl.tools import FED, ToolError
from gemm_backends.types import GemmSpec

CASES = (
    (FedShape(8, 8, 8, 24, 128, 64), 16, 16),  # computing decides
    (FedShape(8, 8, 8, 24, 128, 16), 24, 16),  # 140 clocks of loads and stores beside 142
    (FedShape(8, 8, 8, 32, 128, 16), 16, 24),  # 144 beside 142
    (FedShape(4, 8, 4, 16, 512, 8), 8, 16),
    (FedShape(8, 4, 16, 32, 128, 8), 16, 8),
    (FedShape(8, 8, 8, 64, 128, 2), 24, 8),  # sums are written for longer than a tile takes
    (FedShape(8, 8, 8, 24, 128, 32), 8, 8),  # one tile alone
)
"""Arrays, and the rows of A and of B; every tile loads its digits again."""

SRAM_KB = 2


def _stalls() -> str:
    for shape, n, h in CASES:
        _compare(shape, n, h)
    return (
        f"{len(CASES)} GEMMs, limited by computing and by the port: sums, compute and stall cycles "
        "= formula, all equal"
    )


def _mutants() -> str:
    escaped = [mutant.fault for mutant in mutants.PORTS if not _caught(mutant)]
    if escaped:
        raise Disagreement(f"not caught: {', '.join(escaped)}")
    return f"{len(mutants.PORTS)} of {len(mutants.PORTS)} faulty ports caught"


PARTS = (Part("memory port", _stalls), Part("mutants of the memory port", _mutants))


def _caught(mutant: mutants.Mutant) -> bool:
    sources, top = mutants.variant(mutant, "_m", FED)
    for case in (CASES[5], CASES[1]):
        try:
            _compare(*case, sources, top)
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
    loads = (n // shape.rows) * (h // shape.columns) * shape.loads * shape.bytes_a_clock
    if cost.traffic["dram"]["a"] + cost.traffic["dram"]["b"] != loads:
        raise Disagreement(f"{shape}: the formula does not load every tile again")
    found = simulate(shape, a, b, sources, top)
    if (found.sums != _product(emulator, shape, a, b)).any():
        raise Disagreement(f"{shape}: sums differ")
    for what, clocks, formula in (
        ("cycles", found.cycles, cost.cycles),
        ("stalls", found.stalls, cost.stall_cycles),
    ):
        if clocks != formula:
            raise Disagreement(f"{shape}: {clocks} {what}, and {formula} by the formula")


def _product(emulator: Emulator, shape: FedShape, a: Integers, b: Integers) -> Integers:
    dtype = torch.int8 if shape.bits <= 8 else torch.int16
    x, y = (torch.from_numpy(digits).to(dtype) for digits in (a, b))
    return np.asarray(emulator.multiply(x, y).numpy(), np.int64)
