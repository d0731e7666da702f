"""Test benches of combinational modules: many instances behind one `in` and one `out`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.simulate import Bits, Combinational, from_bits, translated, verilated
from gemm_backends.rtl.tools import generated

Simulator = Literal["Verilator", "CXXRTL"]


@dataclass(frozen=True)
class Instance:
    """A module in the bench.

    Parameters
    ----------
    module : str
        Its name.
    parameters : mapping
        Their values.
    inputs : mapping
        For every input port, its first bit in `in` and its width.
    outputs : mapping
        For every output port, its width. They follow each other in `out`.
    fixed : bool
        Whether the module has the values of its parameters built in, as a netlist has.
    """

    module: str
    parameters: Mapping[str, int]
    inputs: Mapping[str, tuple[int, int]]
    outputs: Mapping[str, int]
    fixed: bool = False


class Bench:
    """A simulator of several instances that all see the same bits of input.

    Parameters
    ----------
    sources : sequence of Path
        Where the modules are.
    instances : sequence of Instance
        What is simulated.
    simulator : {"Verilator", "CXXRTL"}
        By what.
    before : str
        For CXXRTL, Yosys commands that read the modules instead of ``read_verilog``.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        instances: Sequence[Instance],
        simulator: Simulator,
        before: str = "",
    ) -> None:
        self._instances = instances
        in_bits = max(low + width for i in instances for low, width in i.inputs.values())
        out_bits = sum(width for i in instances for width in i.outputs.values())
        top = generated(_top(instances, in_bits, out_bits), "top")
        if simulator == "Verilator":
            library = verilated([*sources, top], "top", {}, "combinational_verilator.cpp")
        else:
            read = before or "\n".join(f"read_verilog -sv {path}" for path in sources)
            script = (
                f"{read}\nread_verilog -sv {top}\nhierarchy -check -top top\nproc\nflatten\nopt"
            )
            library = translated(script, [*sources, top], "combinational_cxxrtl.cpp")
        self._model = Combinational(library, in_bits, out_bits)

    def __call__(self, inputs: Bits) -> list[dict[str, npt.NDArray[np.int64]]]:
        """Evaluate every instance on ``[count, in_bits]``; return each one's outputs by port.

        Outputs of more than one bit are signed.
        """
        out = self._model(inputs)
        results, low = [], 0
        for instance in self._instances:
            ports = {}
            for port, width in instance.outputs.items():
                ports[port] = from_bits(out[:, low : low + width], signed=width > 1)
                low += width
            results.append(ports)
        return results


def multiplier(a: int, b: int, low_b: int, module: str = "multiplier") -> Instance:
    """Return an `a`-bit by `b`-bit multiplier whose operands start at the bits 0 and `low_b`."""
    return Instance(module, {"A": a, "B": b}, {"a": (0, a), "b": (low_b, b)}, {"product": a + b})


def step(
    p: int,
    w: int,
    saturate: bool,
    module: str = "accumulate_step",
    low: tuple[int, int] | None = None,
) -> Instance:
    """Return a step of a `w`-bit register by a `p`-bit addend.

    They start at the bits `low`, by default at 0 and right behind.
    """
    low_state, low_addend = (0, w) if low is None else low
    return Instance(
        module,
        {"P": p, "W": w, "SATURATE": int(saturate)},
        {"state": (low_state, w), "addend": (low_addend, p)},
        {"next": w, "overflow": 1},
    )


def _top(instances: Sequence[Instance], in_bits: int, out_bits: int) -> str:
    lines = [f"module top(input logic [{in_bits - 1}:0] in, output logic [{out_bits - 1}:0] out);"]
    low_out = 0
    for number, instance in enumerate(instances):
        values = {} if instance.fixed else instance.parameters
        parameters = ", ".join(f".{name}({value})" for name, value in values.items())
        ports = [f".{port}(in[{low} +: {width}])" for port, (low, width) in instance.inputs.items()]
        for port, width in instance.outputs.items():
            ports.append(f".{port}(out[{low_out} +: {width}])")
            low_out += width
        lines.append(f"  {instance.module} #({parameters}) u{number}({', '.join(ports)});")
    return "\n".join([*lines, "endmodule", ""])
