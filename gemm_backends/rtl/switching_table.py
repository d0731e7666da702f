"""The table of what parts of an array switch on real digits.

``python -m gemm_backends.rtl.switching_table BUNDLE...`` writes the committed table again, from
workloads/data/smollm2.safetensors and workloads/data/minilm.safetensors.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from gemm_backends.cost.energy import SWITCHING, load_switching
from gemm_backends.rtl.simulate import from_bits, to_bits
from gemm_backends.rtl.switching import CAPACITANCE, switching
from gemm_backends.rtl.synthesis import CELLS, MODULES, Component
from gemm_backends.rtl.tools import version

WIDTHS = range(2, 9)
ACCUMULATORS = (16, 24, 32)
INTEGER = 32
BETAS = (15, 31, 127)
PERCENTILE = 95

PAIRS = 8
"""Rows of A and of B, of each GEMM and β, whose products are summed one after another."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """What the parts of a place see, clock by clock, at one width.

    Parameters
    ----------
    a, b : ndarray
        Low digits of both operands.
    value, digit : ndarray
        High digits of A, and the digits of B that they are multiplied by.
    x : ndarray
        The floats that become the digits of A, float32, times their scales.
    """

    a: Integers
    b: Integers
    value: Integers
    digit: Integers
    x: npt.NDArray[np.float32]


def streams(bundles: Sequence[Path]) -> dict[int, Stream]:
    """Read the operands of bundles, and write them in digits of every width."""
    parts: dict[int, list[Stream]] = {bits: [] for bits in WIDTHS}
    generator = np.random.default_rng(0)
    for a, b in _operands(bundles):
        rows = [generator.integers(0, len(side), PAIRS) for side in (a, b)]
        for beta in BETAS:
            values = [quantize(side, PERCENTILE, beta, name="operand") for side in (a, b)]
            of_a, of_b = (v.values[torch.from_numpy(r)] for v, r in zip(values, rows, strict=True))
            x = (values[0].operand * values[0].scale)[torch.from_numpy(rows[0])]
            for bits in WIDTHS:
                parts[bits].append(_stream(bits, of_a, of_b, x))
    return {
        bits: Stream(
            np.concatenate([s.a for s in own]),
            np.concatenate([s.b for s in own]),
            np.concatenate([s.value for s in own]),
            np.concatenate([s.digit for s in own]),
            np.concatenate([s.x for s in own]),
        )
        for bits, own in parts.items()
    }


def _operands(bundles: Sequence[Path]) -> Iterator[tuple[Tensor, Tensor]]:
    for path in bundles:
        tensors = load_file(path)
        for name in sorted(name.removesuffix("/a") for name in tensors if name.endswith("/a")):
            a, b = (tensors[f"{name}/{side}"].to(torch.float32) for side in "ab")
            yield a.reshape(-1, *a.shape[-2:])[0], b.reshape(-1, *b.shape[-2:])[0]


def _stream(bits: int, a: Tensor, b: Tensor, x: Tensor) -> Stream:
    system = DigitSystem("balanced", bits)
    (low_a, high), (low_b, _) = (_split(system, side.to(torch.int64)) for side in (a, b))
    heavy = high != 0
    return Stream(
        low_a.reshape(-1).numpy(),
        low_b.reshape(-1).numpy(),
        high[heavy].numpy(),
        low_b[heavy].numpy(),
        x.reshape(-1).numpy(),
    )


def _split(system: DigitSystem, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest digits, and the next ones of what does not fit."""
    over = system.out_of_bound(values)
    digit, rest = system.split(values)
    return torch.where(over, digit, values), torch.where(over, system.split(rest)[0], 0)


def rows(seen: dict[int, Stream], widths: Iterable[int] = WIDTHS) -> Iterator[dict[str, Any]]:
    """Simulate every part at some widths; yield the rows of the table.

    Raises
    ------
    InputError
        If a netlist computes anything but what it should.
    ToolError
        If Yosys is missing or fails.
    """
    for bits in widths:
        stream = seen[bits]
        yield from _multiplier(bits, stream)
        for width in ACCUMULATORS:
            yield from _registers(bits, width, stream)
            yield from _lane(bits, width, stream)
        yield from _splitter(bits, stream)
    yield from _rounder(seen[max(seen)])


def _multiplier(bits: int, stream: Stream) -> Iterator[dict[str, Any]]:
    component = Component("multiplier", (("A", bits), ("B", bits)))
    found = switching(component, {"a": to_bits(stream.a, bits), "b": to_bits(stream.b, bits)})
    _check(component, from_bits(found.outputs["product"]), stream.a * stream.b)
    yield _row(component, found.data, found.clock)


def _registers(bits: int, width: int, stream: Stream) -> Iterator[dict[str, Any]]:
    products = stream.a * stream.b
    count, half = len(products), 1 << (width - 1)
    sums = (np.cumsum(products) + half) % (2 * half) - half
    state = np.concatenate([[0], sums[:-1]])
    on, off = np.ones((count, 1), np.uint8), np.zeros((count, 1), np.uint8)
    shared = {"valid": on, "sum": to_bits(state, width)}
    product, none = to_bits(products, 2 * bits), np.zeros((count, width - bits), np.uint8)
    lines = {"row": off, "down": none, "column": off, "across": none}
    for component, inputs in (
        (
            Component("accumulator", (("P", 2 * bits), ("W", width), ("SATURATE", 0))),
            {**shared, "first": off, "addend": product},
        ),
        (
            Component("corrected_accumulator", (("P", 2 * bits), ("W", width), ("UNIT", bits))),
            {**shared, **lines, "clear": off, "product": product},
        ),
    ):
        found = switching(component, inputs, "sum")
        _check(component, from_bits(found.outputs["next"]), sums)
        yield _row(component, found.data, found.clock)


def _lane(bits: int, width: int, stream: Stream) -> Iterator[dict[str, Any]]:
    component = Component("lane", (("B", bits), ("W", width), ("UNIT", bits)))
    levels = (width - 1) // bits
    inputs = {
        "value": to_bits(stream.value, bits),
        "digit": to_bits(stream.digit, bits),
        "level": np.tile(to_bits(1, levels.bit_length()), (len(stream.value), 1)),
    }
    found = switching(component, inputs)
    half = 1 << (width - 1)
    wanted = ((stream.value * stream.digit << bits) + half) % (2 * half) - half
    _check(component, from_bits(found.outputs["correction"]) << bits, wanted)
    yield _row(component, found.data, found.clock)


def _splitter(bits: int, stream: Stream) -> Iterator[dict[str, Any]]:
    component = Component("split_value", (("B", bits), ("I", INTEGER)))
    found = switching(component, {"value": to_bits(np.rint(stream.x).astype(np.int64), INTEGER)})
    _check(component, from_bits(found.outputs["low"]), stream.a)
    yield _row(component, found.data, found.clock)


def _rounder(stream: Stream) -> Iterator[dict[str, Any]]:
    """Simulate the rounding of floats that were scaled before, and are scaled by 1.5."""
    component = Component("round_scaled", (("I", INTEGER),))
    scale = np.full_like(stream.x, 1.5)
    inputs = {n: to_bits(v.view(np.int32), 32) for n, v in (("x", stream.x), ("scale", scale))}
    found = switching(component, inputs)
    wanted = np.rint(stream.x * scale).astype(np.int64)
    _check(component, from_bits(found.outputs["rounded"]), wanted)
    yield _row(component, found.data, found.clock)


def _check(component: Component, found: Integers, wanted: Integers) -> None:
    if not np.array_equal(found, wanted):
        raise InputError(f"{component.name}: the netlist computes something else")


def _row(component: Component, data: float, clock: float) -> dict[str, Any]:
    parameters = dict(component.parameters)
    figures = {"data_pf": float(f"{data:.5g}"), "clock_pf": float(f"{clock:.5g}")}
    return {"module": component.module, "parameters": parameters, **figures}


def described(bundles: Sequence[Path]) -> dict[str, Any]:
    """Say what the figures depend on."""

    def sha256(*paths: Path) -> str:
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()

    return {
        "unit": "pF charged or discharged in a clock, by data and by the clock; ratios are meant",
        "command": "python -m gemm_backends.rtl.switching_table "
        + " ".join(f"workloads/data/{path.name}" for path in bundles),
        "operands": f"{PAIRS} pairs of rows of each GEMM, percentile {PERCENTILE}, "
        f"beta {', '.join(map(str, BETAS))}, balanced digits",
        "bundles_sha256": {path.name: sha256(path) for path in bundles},
        "cells_sha256": sha256(CELLS),
        "capacitance_sha256": sha256(CAPACITANCE),
        "sources_sha256": sha256(*MODULES),
        "pyosys": version("pyosys"),
    }


def compare(bundles: Sequence[Path], widths: Sequence[int]) -> str:
    """Simulate parts again and compare them with the committed table.

    Raises
    ------
    InputError
        If a figure differs, or the table is of other sources or operands.
    """
    committed = load_switching()
    if committed.about != described(bundles):
        raise InputError("the table is of other sources, operands or tools: make it again")
    listed = {json.dumps(row) for row in committed.rows}
    count = 0
    for row in rows(streams(bundles), widths):
        if json.dumps(row) not in listed:
            raise InputError(f"not in the table: {row}")
        count += 1
    return f"{count} of {len(listed)} parts: equal"


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    listed = ",\n  ".join(json.dumps(row) for row in rows(streams(paths)))
    about = json.dumps(described(paths), indent=2)
    SWITCHING.write_text(f'{{"about": {about},\n"rows": [\n  {listed}\n]}}\n')
