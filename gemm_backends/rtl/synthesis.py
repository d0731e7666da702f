"""Synthesis of the modules to standard cells: netlists and their areas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gemm_backends.rtl.tools import CORRECTED, DESIGN, SOURCES, UNPACKER, cached, version, yosys

CELLS = Path(__file__).parent / "cells.lib"
"""The cell library; it says where its areas come from."""

GROUPS = (
    (*DESIGN, SOURCES / "adder.sv", SOURCES / "shift_add.sv"),
    tuple(path for path in CORRECTED if path.stem not in ("skew", "lane_bank", "corrected_array")),
    UNPACKER,
)
"""The sources of all that can be synthesized; a module is read with those of its group alone.

What else is read changes names within Yosys, and with them what ABC finds, by a few percent.
"""

MODULES = tuple(dict.fromkeys(path for group in GROUPS for path in group))
"""All of them."""

SCRIPT = """\
read_verilog -sv {sources}
chparam {parameters} {module}
hierarchy -check -top {module}
setattr -mod -set keep_hierarchy 1 *multiplier
synth -flatten
dfflibmap -liberty {cells}
abc -liberty {cells}
opt_clean
"""
"""The Yosys script for a module.

A multiplier stays a separate module: merged with the accumulator's adder, small
multiply-accumulators would become several times larger.
"""


@dataclass(frozen=True)
class Component:
    """A module with the values of its parameters.

    Parameters
    ----------
    module : str
        Its name.
    parameters : tuple of (str, int)
        All of its parameters.
    """

    module: str
    parameters: tuple[tuple[str, int], ...]

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that it is synthesized from.

        Raises
        ------
        ValueError
            If no group has such a module.
        """
        for group in GROUPS:
            if any(path.stem == self.module for path in group):
                return group
        raise ValueError(f"no module {self.module!r} can be synthesized")

    @property
    def name(self) -> str:
        """The name of its netlist, such as ``multiplier_A4_B4``."""
        return "_".join([self.module, *(f"{name}{value}" for name, value in self.parameters)])


@dataclass(frozen=True)
class Netlist:
    """A synthesized component.

    Parameters
    ----------
    path : Path
        A Verilog file of cells, whose module has the component's `name`.
    area : float
        Of all its cells, in the units of the library.
    """

    path: Path
    area: float


def synthesize(component: Component) -> Netlist:
    """Map a component to cells, once for as long as sources, library and Yosys stay the same.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """

    def build(folder: Path) -> None:
        script = SCRIPT.format(
            sources=" ".join(map(str, component.sources)),
            module=component.module,
            parameters=" ".join(f"-set {name} {value}" for name, value in component.parameters),
            cells=CELLS,
        )
        script += f"rename -top {component.name}\n"
        script += f"write_verilog -noattr {folder / 'netlist.v'}\n"
        script += f"tee -q -o {folder / 'stat.json'} stat -json -liberty {CELLS}\n"
        yosys(script)

    inputs: list[bytes | str] = [version("pyosys"), SCRIPT, component.name]
    inputs += [path.read_bytes() for path in (*component.sources, CELLS)]
    folder = cached("netlist", inputs, build)
    area = json.loads((folder / "stat.json").read_text())["design"]["area"]
    return Netlist(folder / "netlist.v", float(area))


def flattened(component: Component) -> Path:
    """Return a JSON file of a component's cells and nets, without modules within.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """
    netlist = synthesize(component).path

    def build(folder: Path) -> None:
        yosys(
            f"read_liberty -lib {CELLS}\nread_verilog {netlist}\n"
            f"hierarchy -check -top {component.name}\nflatten\nopt_clean\n"
            f"write_json {folder / 'flat.json'}\n"
        )

    inputs: list[bytes | str] = [version("pyosys"), "flat", netlist.read_bytes()]
    return cached("flat", [*inputs, CELLS.read_bytes()], build) / "flat.json"
