"""Compare what simulated hardware gives with what the emulator computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gemm_backends.cost.cycles import cycles
from gemm_backends.emulator import stepwise
from gemm_backends.emulator.backend import Emulator
from gemm_backends.rtl.array import ArrayShape, ArraySimulator, Tile
from gemm_backends.rtl.bench import Instance
from gemm_backends.rtl.simulate import Bits, from_bits
from gemm_backends.types import Accumulator, OverflowReport

Integers = npt.NDArray[np.int64]
Ports = dict[str, Integers]


class Disagreement(AssertionError):  # noqa: N818 - what it says
    """The hardware and the emulator differ; the message says where."""


def products(instance: Instance, ports: Ports, inputs: Bits) -> None:
    """Compare the products of a multiplier with GEMMs of the emulator whose K is 1.

    Raises
    ------
    Disagreement
        If any differs.
    """
    x, y = (_operand(instance, port, inputs) for port in "ab")
    widths = instance.parameters["A"], instance.parameters["B"]
    (rows, row), (columns, column) = (np.unique(v, return_inverse=True) for v in (x, y))
    dtype = torch.int8 if max(widths) <= 8 else torch.int16
    a, b = (torch.from_numpy(v).to(dtype)[:, None] for v in (rows, columns))
    table = Emulator(bits=widths, accumulator_bits=64).multiply(a, b).numpy()
    what = f"{widths[0]} x {widths[1]} bits"
    _equal(ports["product"], table[row, column], what, x, y)


def steps(instance: Instance, ports: Ports, inputs: Bits) -> None:
    """Compare the steps of a register with the emulator's.

    Raises
    ------
    Disagreement
        If any differs, or is reported to overflow where it does not.
    """
    width = instance.parameters["W"]
    accumulator = Accumulator(width, "saturate" if instance.parameters["SATURATE"] else "wrap")
    state, addend = (_operand(instance, port, inputs) for port in ("state", "addend"))
    expected, overflowed = stepwise.step(
        torch.from_numpy(state), torch.from_numpy(addend), accumulator
    )
    what = f"{width} + {instance.parameters['P']} bits, {accumulator.overflow}"
    _equal(ports["next"], expected.numpy(), what, state, addend)
    _equal(ports["overflow"], overflowed.numpy(), f"overflow, {what}", state, addend)


@dataclass(frozen=True)
class EmulatedGemm:
    """The emulator's results for one GEMM."""

    product: Integers
    report: OverflowReport


def expected(shape: ArrayShape, a: Integers, b: Integers) -> EmulatedGemm:
    """Multiply ``[n, k]`` by ``[h, k]`` digits as the emulator of the array does."""
    emulator = Emulator(
        bits=(shape.bits_a, shape.bits_b),
        accumulator_bits=shape.width,
        overflow="saturate" if shape.saturate else "wrap",
    )
    dtype = torch.int8 if max(shape.bits_a, shape.bits_b) <= 8 else torch.int16
    product, report = emulator.multiply_report(*(torch.from_numpy(x).to(dtype) for x in (a, b)))
    return EmulatedGemm(product.numpy().astype(np.int64), report)


def gemm(array: ArraySimulator, shape: ArrayShape, a: Integers, b: Integers) -> OverflowReport:
    """Compare a GEMM on an array with the emulator, and its cycles with the formula.

    Returns
    -------
    OverflowReport
        The overflows, in which both agree.

    Raises
    ------
    Disagreement
        If a sum, the overflows, the first of them or the cycles differ.
    """
    wanted = expected(shape, a, b)
    sums, overflows, first, clocks = array.gemm(a, b)
    _sums(shape, wanted, sums, overflows, first)
    _cycles(shape, clocks, len(a), a.shape[1], len(b))
    return wanted.report


def tile(shape: ArrayShape, wanted: EmulatedGemm, found: Tile, k: int) -> None:
    """Compare one tile with the emulator, and its cycles with the formula.

    Raises
    ------
    Disagreement
        As `gemm`.
    """
    _sums(shape, wanted, found.sums, found.overflows, found.first)
    _cycles(shape, found.cycles, shape.rows, k, shape.columns)


def _sums(
    shape: ArrayShape, wanted: EmulatedGemm, sums: Integers, overflows: Integers, first: Integers
) -> None:
    wrong = int((sums != wanted.product).sum())
    if wrong:
        raise Disagreement(f"{shape}: {wrong} of {sums.size} sums differ")
    report = OverflowReport(int(overflows.sum()))
    if report.count:
        row, column = (int(i) for i in np.argwhere(overflows)[0])
        report = OverflowReport(report.count, (row, column, int(first[row, column])))
    if report != wanted.report:
        raise Disagreement(f"{shape}: {report} in hardware, {wanted.report} in the emulator")


def _cycles(shape: ArrayShape, found: int, n: int, k: int, h: int) -> None:
    formula = cycles("output-stationary", shape.rows, shape.columns, n, k, h, drain=False)
    if found != formula:
        raise Disagreement(f"{shape}: {found} cycles, and {formula} by the formula")


def _operand(instance: Instance, port: str, inputs: Bits) -> Integers:
    low, width = instance.inputs[port]
    return from_bits(inputs[:, low : low + width])


def _equal(
    found: Integers, wanted: npt.NDArray[np.generic], what: str, x: Integers, y: Integers
) -> None:
    wrong = np.flatnonzero(found != wanted)
    if len(wrong):
        i = wrong[0]
        raise Disagreement(
            f"{what}: {len(wrong)} of {len(found)} differ, first for {x[i]} and {y[i]}: "
            f"hardware {found[i]}, emulator {wanted[i]}"
        )
