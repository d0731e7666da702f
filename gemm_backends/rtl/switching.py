"""How much a netlist switches: its cells evaluated on sequences of inputs, 64 clocks at a time.

Every net that changes from one clock to the next charges or discharges the input pins behind it.
Cells have no delay here, so that glitches are not in it, and neither are wires and what cells
charge within themselves: sums of capacitance compare netlists of one library; they are not
energies.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.synthesis import Component, flattened

CAPACITANCE = Path(__file__).parent / "capacitance.json"
"""The capacitances of the cells' pins; it says where they come from."""

FLIP_FLOP = "DFFPOSX1"

Words = npt.NDArray[np.uint64]
"""A net over time, one bit a clock."""

FUNCTIONS: Mapping[str, Callable[..., Words]] = {
    "BUFX2": lambda a: a,
    "INVX1": lambda a: ~a,
    "NAND2X1": lambda a, b: ~(a & b),
    "NAND3X1": lambda a, b, c: ~(a & b & c),
    "NOR2X1": lambda a, b: ~(a | b),
    "NOR3X1": lambda a, b, c: ~(a | b | c),
    "AND2X1": lambda a, b: a & b,
    "OR2X1": lambda a, b: a | b,
    "AOI21X1": lambda a, b, c: ~((a & b) | c),
    "AOI22X1": lambda a, b, c, d: ~((a & b) | (c & d)),
    "OAI21X1": lambda a, b, c: ~((a | b) & c),
    "OAI22X1": lambda a, b, c, d: ~((a | b) & (c | d)),
    "XOR2X1": lambda a, b: a ^ b,
    "XNOR2X1": lambda a, b: ~(a ^ b),
    "MUX2X1": lambda a, b, s: ~((a & s) | (b & ~s)),
}
"""The cells' functions of their inputs in the order of their names."""


@dataclass(frozen=True)
class Switching:
    """What a netlist charges.

    Parameters
    ----------
    data : float
        Capacitance that is charged or discharged in a clock, in pF.
    clock : float
        The same of the clock pins, twice a clock.
    outputs : mapping
        The bits of every output port over time, ``[clocks, width]``, and under ``"next"`` what
        flip-flops take next, in the order of the port whose bits they hold.
    """

    data: float
    clock: float
    outputs: Mapping[str, npt.NDArray[np.uint8]]


def switching(
    component: Component, inputs: Mapping[str, npt.NDArray[np.uint8]], state: str | None = None
) -> Switching:
    """Evaluate a synthesized component.

    Parameters
    ----------
    component : Component
        What is synthesized.
    inputs : mapping
        Bits of every input port, ``[clocks, width]``; those of `state`, too.
    state : str or None
        The output port whose bits are the netlist's flip-flops.

    Raises
    ------
    ValueError
        If a cell is not known, or a port has no bits.
    """
    module = json.loads(flattened(component).read_text("utf-8"))["modules"][component.name]
    clocks = len(next(iter(inputs.values())))
    nets: dict[Any, Words] = {"0": _pack(np.zeros(clocks)), "1": _pack(np.ones(clocks))}
    for name, port in module["ports"].items():
        if name == "clk" or (port["direction"] == "output" and name != state):
            continue
        if name not in inputs:
            raise ValueError(f"{component.name} needs bits of {name}")
        for bit, net in enumerate(port["bits"]):
            nets[net] = _pack(inputs[name][:, bit])
    pins = _capacitances()
    load: dict[Any, float] = {}
    waiting: list[tuple[str, dict[str, Any]]] = []
    flip_flops: list[tuple[str, dict[str, Any]]] = []
    for cell in module["cells"].values():
        if cell["type"] == "$scopeinfo":  # a note of where a module was
            continue
        wires = {pin: bits[0] for pin, bits in cell["connections"].items()}
        for pin, capacitance in pins[cell["type"]].items():
            load[wires[pin]] = load.get(wires[pin], 0.0) + capacitance
        (flip_flops if cell["type"] == FLIP_FLOP else waiting).append((cell["type"], wires))
    while waiting:
        later = [(kind, wires) for kind, wires in waiting if not _evaluate(kind, wires, nets)]
        if len(later) == len(waiting):
            raise ValueError(f"{component.name}: cells in a circle, or a net without a driver")
        waiting = later
    data = sum(load.get(net, 0.0) * _changes(bits, clocks) for net, bits in nets.items())
    ports = {
        name: np.stack([_unpack(nets[net], clocks) for net in port["bits"]], 1)
        for name, port in module["ports"].items()
        if port["direction"] == "output"
    }
    if state is not None:
        taken = {wires["Q"]: nets[wires["D"]] for _, wires in flip_flops}
        held = module["ports"][state]["bits"]
        ports["next"] = np.stack([_unpack(taken[net], clocks) for net in held], 1)
    beat = 2 * len(flip_flops) * pins[FLIP_FLOP]["CLK"]
    return Switching(data / max(1, clocks - 1), beat, ports)


def _evaluate(kind: str, wires: Mapping[str, Any], nets: dict[Any, Words]) -> bool:
    """Compute a cell's output if its inputs are there; say whether they were."""
    names = [pin for pin in wires if pin != "Y"]
    if any(wires[pin] not in nets for pin in names):
        return False
    nets[wires["Y"]] = FUNCTIONS[kind](*(nets[wires[pin]] for pin in sorted(names)))
    return True


@functools.cache
def _capacitances() -> Mapping[str, Mapping[str, float]]:
    cells: Mapping[str, Mapping[str, float]] = json.loads(CAPACITANCE.read_text("utf-8"))["cells"]
    return cells


def _pack(bits: npt.NDArray[Any]) -> Words:
    padded = np.zeros(-(-len(bits) // 64) * 64, np.uint8)
    padded[: len(bits)] = bits
    return np.packbits(padded, bitorder="little").view(np.uint64)


def _unpack(words: Words, clocks: int) -> npt.NDArray[np.uint8]:
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:clocks]


def _changes(words: Words, clocks: int) -> int:
    bits = _unpack(words, clocks)
    return int((bits[1:] != bits[:-1]).sum())
