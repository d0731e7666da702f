"""The netlists whose areas are in the table, simulated: what is costed is what was proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gemm_backends.rtl import bench, compare
from gemm_backends.rtl.bench import Bench, Instance
from gemm_backends.rtl.simulate import Bits, to_bits
from gemm_backends.rtl.synthesis import CELLS, Component, synthesize

WIDTHS = range(2, 9)
"""Multipliers all of whose products are compared."""

SMALL = 8
"""Width of the accumulator, and of its addend, all of whose steps are compared."""


def prove(widths: Sequence[int] = WIDTHS) -> str:
    """Compare netlists of multipliers, and of an accumulator, with the emulator.

    Parameters
    ----------
    widths : sequence of int
        Of the multipliers.

    Returns
    -------
    str
        What was compared.

    Raises
    ------
    Disagreement
        If anything differs.
    ToolError
        If a tool is missing or fails.
    """
    widest = max(widths)
    multipliers = [bench.multiplier(b, b, low_b=widest) for b in widths]
    inputs = to_bits(np.arange(1 << 2 * widest), 2 * widest)
    for instance, ports in zip(multipliers, _bench(multipliers)(inputs), strict=True):
        compare.products(instance, ports, inputs)
    accumulators = [_accumulator(saturate) for saturate in (False, True)]
    clocks, states = _two_steps()
    for instance, ports in zip(accumulators, _bench(accumulators)(clocks), strict=True):
        step = {"next": ports["sum"][4::5], "overflow": ports["overflow"][2::5]}
        compare.steps(bench.step(SMALL, SMALL, bool(instance.parameters["SATURATE"])), step, states)
    return (
        f"multipliers b = {widths[0]}..{widths[-1]}: every product; accumulator of {SMALL} + "
        f"{SMALL} bits: every step, wrap and saturate: exhausted"
    )


def _bench(instances: Sequence[Instance]) -> Bench:
    """Return a simulator of the instances as they were synthesized, in the library's cells."""
    components = [Component(i.module, tuple(i.parameters.items())) for i in instances]
    netlists = [synthesize(component).path for component in components]
    cells = [f"read_liberty {CELLS}", "techmap -autoproc -map +/simcells.v"]
    read = "\n".join([*cells, *(f"read_verilog {path}" for path in netlists)])
    built = [
        replace(instance, module=component.name, fixed=True)
        for instance, component in zip(instances, components, strict=True)
    ]
    return Bench([CELLS, *netlists], built, "CXXRTL", before=read)


def _accumulator(saturate: bool) -> Instance:
    return Instance(
        "accumulator",
        {"P": SMALL, "W": SMALL, "SATURATE": int(saturate)},
        {"clk": (0, 1), "valid": (1, 1), "first": (2, 1), "addend": (3, SMALL)},
        {"sum": SMALL, "overflow": 1},
    )


def _two_steps() -> tuple[Bits, Bits]:
    """Return inputs that load every state and add every addend, and these pairs.

    Each pair takes five rows: a first addend that becomes the state, with the clock low and then
    high, the addend, likewise, and the clock low, when the sum can be read.
    """
    pairs = to_bits(np.arange(1 << 2 * SMALL), 2 * SMALL)
    states, addends = pairs[:, :SMALL], pairs[:, SMALL:]
    rows = np.zeros((len(pairs), 5, 3 + SMALL), np.uint8)
    rows[:, 1::2, 0] = 1  # clk, valid, first, addend
    rows[:, :, 1] = 1
    rows[:, :2, 2] = 1
    rows[:, :2, 3:], rows[:, 2:, 3:] = states[:, None], addends[:, None]
    return rows.reshape(-1, 3 + SMALL), pairs
