"""The proof that the emulator computes what the hardware does.

Every product and every step of small registers are compared, and, since a sum is a sequence of
steps, so are all sums; wide ones are sampled, half of them at the bounds. Whole GEMMs through the
array then show that the steps come in the emulator's order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from accelsim.errors import AccelsimError
from gemm_backends.actions import Outcome
from gemm_backends.rtl import (
    bench,
    compare,
    fed_proof,
    lanes_proof,
    mutants,
    netlists,
    unpacker_proof,
)
from gemm_backends.rtl.array import ArrayShape, ArraySimulator
from gemm_backends.rtl.bench import Bench, Instance, Simulator
from gemm_backends.rtl.compare import Disagreement, Integers, Ports
from gemm_backends.rtl.part import Part
from gemm_backends.rtl.simulate import Bits, to_bits
from gemm_backends.rtl.tools import DESIGN, SOURCES

WIDTHS = range(2, 9)
UNEQUAL_WIDTHS = ((8, 4), (4, 8), (2, 7), (5, 3))
"""Multipliers all of whose products are compared: square ones, and others."""

SAMPLED_WIDTHS = ((16, 16), (12, 9), (9, 12), (16, 2), (2, 16))
"""Multipliers whose products are sampled."""

SMALL = ((8, 12), (8, 8), (8, 6))
"""Widths of the addend and of the register, for steps all of which are compared."""

WIDE = ((16, 32), (16, 24), (32, 48))
"""The same, for steps that are sampled."""

SAMPLES = 1_000_000


def prove(parts: Sequence[Part] | None = None) -> Iterator[Outcome]:
    """Run parts of the proof, by default all, two at a time; yield what came of each."""
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(run_part, PARTS if parts is None else parts)


def run_part(part: Part) -> Outcome:
    """Run one part; a missing tool or a source that a tool refuses is a failure of the part."""
    start = time.perf_counter()
    try:
        outcome = Outcome(f"rtl: {part.name}", "passed", part.run())
    except (Disagreement, AccelsimError) as error:
        outcome = Outcome(f"rtl: {part.name}", "failed", str(error))
    return Outcome(outcome.name, outcome.status, outcome.detail, time.perf_counter() - start)


def _multipliers(simulator: Simulator) -> str:
    widths = [*((b, b) for b in WIDTHS), *UNEQUAL_WIDTHS]
    instances = [bench.multiplier(*pair, low_b=8) for pair in widths]
    inputs = to_bits(np.arange(1 << 16), 16)
    _each("multiplier", instances, inputs, simulator, compare.products)
    return f"b = {WIDTHS[0]}..{WIDTHS[-1]} and {_pairs(UNEQUAL_WIDTHS)}: every product, exhausted"


def _wide_multipliers() -> str:
    instances = [bench.multiplier(*pair, low_b=16) for pair in SAMPLED_WIDTHS]
    inputs = _at_bounds([16, 16], 100_000, values=400)
    _each("multiplier", instances, inputs, "Verilator", compare.products)
    return f"{_pairs(SAMPLED_WIDTHS)}: {len(inputs):,} products each, half at the bounds, sampled"


def _steps(simulator: Simulator) -> str:
    instances = [bench.step(p, w, saturate) for p, w in SMALL for saturate in (False, True)]
    width = max(p + w for p, w in SMALL)
    inputs = to_bits(np.arange(1 << width), width)
    _each("accumulate_step", instances, inputs, simulator, compare.steps)
    return f"{_registers(SMALL)}: every step, wrap and saturate, exhausted"


def _wide_steps() -> str:
    instances: list[Instance] = []
    fields: list[int] = []
    for p, w in WIDE:
        low = sum(fields), sum(fields) + w
        instances += [bench.step(p, w, saturate, low=low) for saturate in (False, True)]
        fields += [w, p]
    inputs = _at_bounds(fields, SAMPLES)
    _each("accumulate_step", instances, inputs, "Verilator", compare.steps)
    return (
        f"{_registers(WIDE)}: {SAMPLES:,} steps each, half at the bounds, wrap and saturate, "
        "sampled"
    )


def _gemms() -> str:
    found = []
    for shape, n, d, h in (
        (ArrayShape(3, 5, 4, 4, 12, saturate=True), 7, 200, 11),
        (ArrayShape(3, 5, 4, 4, 12, saturate=False), 7, 200, 11),
        (ArrayShape(4, 4, 8, 6, 18, saturate=True), 8, 300, 8),
    ):
        array = ArraySimulator(DESIGN, "systolic_array", shape)
        compare.gemm(array, shape, *_random(shape, n, d, h))
        count = compare.gemm(array, shape, *_swing(shape, n, d, h)).count
        if not count:
            raise Disagreement(f"{shape}: the swinging sums were to overflow, and did not")
        mode = "saturate" if shape.saturate else "wrap"
        what = f"{shape.bits_a}x{shape.bits_b} into {shape.width} bits, {mode}"
        found.append(f"{what}: {count:,} overflows")
    return f"{'; '.join(found)}; sums, overflows, the first, cycles = formula: all equal"


def _mutants() -> str:
    escaped = [
        *_escaped(mutants.MULTIPLIERS, lambda top: bench.multiplier(4, 4, 4, top)),
        *_escaped(mutants.STEPS, lambda top: bench.step(4, 6, True, top)),
        *_escaped_arrays(mutants.ARRAYS),
        *(name for mutant in mutants.CLOCKS for name in _escaped_arrays([mutant])),
    ]
    if escaped:
        raise Disagreement(f"not caught: {', '.join(escaped)}")
    return f"{len(mutants.ALL)} of {len(mutants.ALL)} faulty designs caught"


PARTS = (
    Part("multipliers", lambda: _multipliers("Verilator")),
    Part("multipliers, CXXRTL", lambda: _multipliers("CXXRTL")),
    Part("wide multipliers", _wide_multipliers),
    Part("steps", lambda: _steps("Verilator")),
    Part("steps, CXXRTL", lambda: _steps("CXXRTL")),
    Part("wide steps", _wide_steps),
    Part("costed netlists, CXXRTL", netlists.prove),
    Part("GEMMs", _gemms),
    Part("mutants", _mutants),
    *lanes_proof.PARTS,
    *unpacker_proof.PARTS,
    *fed_proof.PARTS,
)

_COMPARISONS: dict[str, Callable[[Instance, Ports, Bits], None]] = {
    "multiplier": compare.products,
    "accumulate_step": compare.steps,
}


def _each(
    module: str,
    instances: Sequence[Instance],
    inputs: Bits,
    simulator: Simulator,
    comparison: Callable[[Instance, Ports, Bits], None],
) -> None:
    simulated = Bench([SOURCES / f"{module}.sv"], instances, simulator)
    for instance, ports in zip(instances, simulated(inputs), strict=True):
        comparison(instance, ports, inputs)


def _registers(widths: Sequence[tuple[int, int]]) -> str:
    return f"register + addend of {', '.join(f'{w} + {p}' for p, w in widths)} bits"


def _pairs(widths: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{a}x{b}" for a, b in widths)


def _at_bounds(fields: Sequence[int], count: int, values: int | None = None) -> Bits:
    """Draw rows of several fields of bits; in half of them every field is at or next to a bound.

    With `values`, the other half draws each field from this many values.
    """
    generator = np.random.default_rng(0)
    columns = []
    for width in fields:
        low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
        numbers = generator.integers(low, high, count, endpoint=True)
        if values is not None:
            numbers = generator.choice(numbers[:values], count)
        near = [low, low + 1, -1, 0, 1, high - 1, high]
        numbers[::2] = generator.choice(near, len(numbers[::2]))
        columns.append(to_bits(numbers, width))
    return np.concatenate(columns, 1)


def _random(shape: ArrayShape, n: int, d: int, h: int) -> tuple[Integers, Integers]:
    generator = np.random.default_rng(1)
    a, b = 1 << (shape.bits_a - 1), 1 << (shape.bits_b - 1)
    return generator.integers(-a, a, (n, d)), generator.integers(-b, b, (h, d))


def _swing(shape: ArrayShape, n: int, d: int, h: int) -> tuple[Integers, Integers]:
    """Make sums climb beyond the register and then fall: every step and its place count."""
    a, b = (np.abs(x) for x in _random(shape, n, d, h))
    a = np.clip(a, 1, (1 << (shape.bits_a - 1)) - 1)
    b = np.clip(b, 1, (1 << (shape.bits_b - 1)) - 1)
    b[:, d * 3 // 5 :] *= -1
    return a, b


def _escaped(
    faults: Sequence[mutants.Mutant], instance: Callable[[str], Instance]
) -> Iterator[str]:
    """Yield the faults of combinational modules that no comparison shows."""
    variants = [mutants.variant(mutant, f"_m{i}") for i, mutant in enumerate(faults)]
    instances = [instance(top) for _, top in variants]
    sources = [path for files, top in variants for path in files if path.stem == top]
    width = max(low + size for low, size in instances[0].inputs.values())
    inputs = to_bits(np.arange(1 << width), width)
    simulated = Bench(sources, instances, "Verilator")(inputs)
    for mutant, made, ports in zip(faults, instances, simulated, strict=True):
        try:
            _COMPARISONS[mutant.module](made, ports, inputs)
        except Disagreement:
            continue
        yield f"{mutant.fault} ({mutant.module})"


def _escaped_arrays(faults: Sequence[mutants.Mutant]) -> Iterator[str]:
    """Yield the faults of arrays, simulated side by side, that no comparison shows."""
    shape = ArrayShape(2, 3, 4, 4, 8, saturate=True)
    variants = [mutants.variant(mutant, f"_m{i}")[0] for i, mutant in enumerate(faults)]
    tops = [f"systolic_array_m{i}" for i in range(len(faults))]
    sources = [*(path for files in variants for path in files), mutants.side_by_side(tops)]
    array = ArraySimulator(sources, "side_by_side", shape, copies=len(tops))
    a, b = _swing(shape, shape.rows, 40, shape.columns)
    tiles = [(a, b), (a[:, :25], b[:, :25])]  # the second finds what the first has left behind
    wanted = [compare.expected(shape, *operands) for operands in tiles]
    done = list(array.tiles(tiles))
    for copy, mutant in enumerate(faults):
        try:
            for operands, expected, copies in zip(tiles, wanted, done, strict=True):
                compare.tile(shape, expected, copies[copy], operands[0].shape[1])
        except Disagreement:
            continue
        yield f"{mutant.fault} ({mutant.module})"
