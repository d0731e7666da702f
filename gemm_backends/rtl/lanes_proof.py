"""The lanes of an array in SystemVerilog, compared with the emulator's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.corrections import Corrections, HighDigits
from gemm_backends.cost.lanes import Lanes
from gemm_backends.datapath import Datapath
from gemm_backends.emulator import shortcut
from gemm_backends.emulator.backend import Emulator
from gemm_backends.rtl import mutants
from gemm_backends.rtl.bench import Bench, Instance
from gemm_backends.rtl.compare import Disagreement, Integers
from gemm_backends.rtl.corrected import CorrectedShape, CorrectedSimulator
from gemm_backends.rtl.part import Part
from gemm_backends.rtl.simulate import Bits, from_bits, to_bits
from gemm_backends.rtl.switching import switching
from gemm_backends.rtl.synthesis import Component
from gemm_backends.rtl.tools import CORRECTED, SOURCES, ToolError
from gemm_backends.types import Accumulator

LANES = ((2, 8, 2), (3, 10, 3), (4, 13, 4), (4, 12, 3), (5, 12, 5), (8, 24, 8))
"""Widths of digits and of accumulators, and bits of a level, of lanes that are exhausted."""

STEP = (4, 5, 2)
"""Widths of the product and of the register, and bits of a level, of the step that is exhausted."""

SHAPES = (
    CorrectedShape(4, 4, 4, 20, 4),
    CorrectedShape(4, 16, 4, 13, 3),
    CorrectedShape(3, 2, 3, 9, 3),
    CorrectedShape(5, 11, 8, 24, 8),
)
"""Arrays on which whole GEMMs are compared."""

COSTED = ((2, 12), (3, 12), (4, 24))
"""Widths of digits and of registers of netlists that are compared."""

SAMPLES = 100_000

FAULTY = (CorrectedShape(4, 2, 4, 16, 4), CorrectedShape(4, 8, 4, 16, 4))
"""Arrays whose faults must be caught: one bank that takes several groups, and several banks."""


def _lanes() -> str:
    for bits, width, unit in LANES:
        levels = (width - 1) // unit
        instance = Instance(
            "lane",
            {"B": bits, "W": width, "UNIT": unit},
            {
                "value": (0, bits),
                "digit": (bits, bits),
                "level": (2 * bits, levels.bit_length()),
            },
            {"correction": width - unit},
        )
        count = levels.bit_length() + 2 * bits
        inputs = to_bits(np.arange(1 << count), count)
        sources = [SOURCES / f"{name}.sv" for name in ("multiplier", "lane")]
        (ports,) = Bench(sources, [instance], "Verilator")(inputs)
        value, digit = (from_bits(inputs[:, i * bits :][:, :bits]) for i in range(2))
        level = from_bits(inputs[:, 2 * bits :], signed=False)
        found = ports["correction"] << unit
        emulator = Emulator(bits=bits, accumulator_bits=width, array=(1, 1), correction_lanes=1)
        for one in range(levels + 1):
            own = level == one
            wanted = _table(emulator, bits, one * unit if one else width)
            offset = 1 << (bits - 1)
            if (found[own] != wanted[value[own] + offset, digit[own] + offset]).any():
                raise Disagreement(f"lane of {bits} bits: a product at level {one} differs")
    return (
        f"digits of {', '.join(str(b) for b, *_ in LANES)} bits: every product at every level, "
        "exhausted"
    )


def _table(emulator: Emulator, bits: int, exponent: int) -> Integers:
    """Multiply all values by all digits and a power of two, in the lanes of an emulator."""
    every = torch.arange(-(1 << (bits - 1)), 1 << (bits - 1), device="cpu").to(torch.int8)[:, None]
    corrections = Corrections(
        _high([(i, 0, v, exponent) for i, v in enumerate(every[:, 0].tolist())], 1), _high([], 1)
    )
    product = emulator.multiply_corrected(torch.zeros_like(every), every, corrections)
    return np.asarray(product.numpy(), np.int64)


def _steps() -> str:
    p, w, unit = STEP
    fields = {"state": w, "clear": 1, "valid": 1, "product": p, "row": 1, "down": w - unit,
              "column": 1, "across": w - unit}  # fmt: skip
    places, low = {}, 0
    for name, width in fields.items():
        places[name] = low, width
        low += width
    parameters = {"P": p, "W": w, "UNIT": unit}
    instance = Instance("corrected_step", parameters, places, {"next": w})
    inputs = to_bits(np.arange(1 << low), low)
    rows, columns = (_field(inputs, places[name], False) for name in ("row", "column"))
    inputs = inputs[(rows & columns) == 0]  # the banks are on one side at a time
    (ports,) = Bench([SOURCES / "corrected_step.sv"], [instance], "Verilator")(inputs)
    field = {
        name: _field(inputs, place, name in ("state", "product", "down", "across"))
        for name, place in places.items()
    }
    correction = field["row"] * field["down"] + field["column"] * field["across"]
    total = (1 - field["clear"]) * field["state"] + field["valid"] * field["product"]
    exact = torch.from_numpy(total + (correction << unit))
    wanted = shortcut.wrapped(exact, Datapath(Accumulator(w, "wrap"))).numpy()
    if (ports["next"] != wanted).any():
        raise Disagreement(f"{int((ports['next'] != wanted).sum())} corrected steps differ")
    return f"{w} + {p} bits, {len(inputs):,} steps with and without a correction, exhausted"


def _field(inputs: Bits, place: tuple[int, int], signed: bool) -> Integers:
    low, width = place
    return from_bits(inputs[:, low : low + width], signed)


def _netlists() -> str:
    """Compare netlists whose areas are in the table, evaluated cell by cell."""
    for bits, width in COSTED:
        levels = (width - 1) // bits
        count = levels.bit_length()
        inputs = to_bits(np.arange(1 << (2 * bits + count)), 2 * bits + count)
        ports = {
            "value": inputs[:, :bits],
            "digit": inputs[:, bits : 2 * bits],
            "level": inputs[:, 2 * bits :],
        }
        lane = Component("lane", (("B", bits), ("W", width), ("UNIT", bits)))
        found = from_bits(switching(lane, ports).outputs["correction"]) << bits
        value, digit = (from_bits(ports[name]) for name in ("value", "digit"))
        level = from_bits(ports["level"], signed=False)
        power = np.where((level > 0) & (level <= levels), 1 << (level * bits), 0)
        if (found != _wrapped(value * digit * power, width)).any():
            raise Disagreement(f"the netlist of a lane of {bits} bits differs")
        _corrected_netlist(bits, width)
    costed = ", ".join(f"{w} + {b}" for b, w in COSTED)
    return f"registers + digits of {costed} bits: lanes exhausted, corrected steps sampled"


def _corrected_netlist(bits: int, width: int) -> None:
    generator = np.random.default_rng(bits)
    widths = {"sum": width, "product": 2 * bits, "down": width - bits, "across": width - bits}
    values = {}
    for name, size in widths.items():
        low, high = -(1 << (size - 1)), (1 << (size - 1)) - 1
        values[name] = generator.integers(low, high, SAMPLES, endpoint=True)
        values[name][::2] = generator.choice([low, -1, 0, 1, high], SAMPLES // 2)
    flags = {name: generator.integers(0, 2, SAMPLES) for name in ("clear", "valid", "row")}
    flags["column"] = generator.integers(0, 2, SAMPLES) * (1 - flags["row"])
    ports = {name: to_bits(v, widths[name]) for name, v in values.items()}
    ports |= {name: to_bits(v, 1) for name, v in flags.items()}
    parameters = (("P", 2 * bits), ("W", width), ("UNIT", bits))
    found = switching(Component("corrected_accumulator", parameters), ports, "sum")
    correction = flags["row"] * values["down"] + flags["column"] * values["across"]
    wanted = (1 - flags["clear"]) * values["sum"] + flags["valid"] * values["product"]
    exact = _wrapped(wanted + (correction << bits), width)
    if (from_bits(found.outputs["next"]) != exact).any():
        raise Disagreement(f"the netlist of a corrected register of {width} bits differs")


def _wrapped(values: Integers, width: int) -> Integers:
    half = 1 << (width - 1)
    return (values + half) % (2 * half) - half


def _gemms() -> str:
    wrapped = 0
    for number, shape in enumerate(SHAPES):
        array, operands = CorrectedSimulator(shape), _operands(shape, number)
        _compare(array, shape, operands)
        wrapped += _wraps(shape, operands)
    if not wrapped:
        raise Disagreement("sums were to leave the registers' range, and did not")
    return (
        f"{len(SHAPES)} arrays with 2 to 16 lanes, {wrapped} sums that wrap; sums, and the clocks "
        "of every tile = formula: all equal"
    )


def _mutants() -> str:
    alive = list(range(len(mutants.LANES)))
    for shape in FAULTY:
        alive = [alive[i] for i in _escaped(shape, [mutants.LANES[i] for i in alive])]
    if alive:
        names = ", ".join(f"{m.fault} ({m.module})" for m in (mutants.LANES[i] for i in alive))
        raise Disagreement(f"not caught: {names}")
    return f"{len(mutants.LANES)} of {len(mutants.LANES)} faulty lanes caught"


PARTS = (
    Part("lanes", _lanes),
    Part("corrected steps", _steps),
    Part("costed lanes' netlists", _netlists),
    Part("corrected GEMMs", _gemms),
    Part("mutants of lanes", _mutants),
)


def _escaped(shape: CorrectedShape, faults: Sequence[mutants.Mutant]) -> Iterator[int]:
    """Yield which faulty arrays, simulated side by side, no comparison shows."""
    files: list[Path] = []
    for number, mutant in enumerate(faults):
        files += mutants.variant(mutant, f"_m{number}", CORRECTED)[0]
    tops = [f"corrected_array_m{number}" for number in range(len(faults))]
    array = CorrectedSimulator(shape, files, tops)
    operands = _operands(shape, 0)
    for number in range(len(faults)):
        try:
            _compare(array, shape, operands, number)
        except (Disagreement, ToolError):
            continue
        yield number


Operands = tuple[Integers, Integers, Corrections]


def _compare(
    array: CorrectedSimulator, shape: CorrectedShape, operands: Operands, choice: int = 0
) -> None:
    a, b, corrections = operands
    sums, cycles = array.gemm(a, b, corrections, choice)
    wrong = int((sums != _wanted(shape, operands)).sum())
    if wrong:
        raise Disagreement(f"{shape}: {wrong} of {sums.size} sums differ")
    lanes = Lanes(shape.count, shape.size, shape.size)
    alone = 2 * shape.size + a.shape[1] - 2
    formula = lanes.clocks(len(a), len(b), corrections).clamp(min=alone).numpy()
    if (cycles != formula).any():
        raise Disagreement(f"{shape}: tiles of {cycles} cycles, and {formula} by the formula")


def _wanted(shape: CorrectedShape, operands: Operands) -> Integers:
    emulator = Emulator(
        bits=shape.bits,
        accumulator_bits=shape.width,
        array=(shape.size, shape.size),
        correction_lanes=shape.count,
    )
    a, b = (torch.from_numpy(x).to(torch.int8) for x in operands[:2])
    return np.asarray(emulator.multiply_corrected(a, b, operands[2]).numpy(), np.int64)


def _wraps(shape: CorrectedShape, operands: Operands) -> int:
    """Count the sums that a register of 64 bits holds and the array's does not."""
    wide = CorrectedShape(shape.size, shape.count, shape.bits, 64, shape.unit)
    return int((_wanted(wide, operands) != _wanted(shape, operands)).sum())


def _operands(shape: CorrectedShape, seed: int) -> Operands:
    """Draw digits; one tile has more high digits than the array has clocks, one has none."""
    generator = np.random.default_rng(seed)
    n, d, h = 2 * shape.size + 1, 19, 2 * shape.size - 1
    low, high = -(1 << (shape.bits - 1)), 1 << (shape.bits - 1)
    a, b = (generator.integers(low, high, (rows, d)) for rows in (n, h))

    def listed(rows: int) -> HighDigits:
        entries = [
            (int(i), int(k), int(generator.integers(low, high)), shape.unit * level)
            for level in (1, 2)
            for i, k in np.argwhere(generator.random((rows, d)) < 0.4 / level)
            if i < shape.size
        ]
        return _high(entries, d)

    return a, b, Corrections(listed(n), listed(h))


def _high(entries: Sequence[tuple[int, int, int, int]], d: int) -> HighDigits:
    """List high digits by row, column, value and exponent; a row at a level is a line."""
    lines = sorted({(exponent, row) for row, _, _, exponent in entries})
    number = {line: i for i, line in enumerate(lines)}
    ordered = sorted((number[e, r], k, v) for r, k, v, e in entries)
    line, column, value = (
        torch.tensor(ordered, dtype=torch.int64, device="cpu").reshape(-1, 3).unbind(1)
    )
    digits = SparseDigits.from_entries(line, column, value.to(torch.int8), (len(lines), d))
    exponent, index = torch.tensor(lines, dtype=torch.int64, device="cpu").reshape(-1, 2).unbind(1)
    return HighDigits(digits, index, exponent)
