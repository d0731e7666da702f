"""Simulators of SystemVerilog modules, as functions on NumPy arrays."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gemm_backends.rtl.tools import (
    HARNESS,
    ToolError,
    cached,
    compile_cpp,
    compiler,
    missing,
    verilate,
    verilator_root,
    version,
    yosys,
)

Bits = npt.NDArray[np.uint8]
"""Zeros and ones, one per bit, the least significant first."""

RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
"""The source that every Verilator model is linked with."""

LIBRARY = "libmodel.so"
"""The shared library in the folder of every simulator."""


class Combinational:
    """A combinational module with one port `in` and one port `out`.

    Parameters
    ----------
    library : Path
        The simulator's shared library.
    in_bits, out_bits : int
        Widths of the ports.
    """

    def __init__(self, library: Path, in_bits: int, out_bits: int) -> None:
        self._evaluate = ctypes.CDLL(str(library)).evaluate
        self._in_bits, self._out_bits = in_bits, out_bits

    def __call__(self, inputs: Bits) -> Bits:
        """Evaluate every row of ``[count, in_bits]``; return ``[count, out_bits]``."""
        packed = np.packbits(inputs, axis=1, bitorder="little")
        count, in_bytes = packed.shape
        if inputs.shape[1] != self._in_bits:
            raise ValueError(f"the port has {self._in_bits} bits, got {inputs.shape[1]}")
        out = np.zeros((count, -(-self._out_bits // 8)), np.uint8)
        pointers = [x.ctypes.data_as(ctypes.c_void_p) for x in (packed, out)]
        self._evaluate(
            pointers[0],
            ctypes.c_long(in_bytes),
            pointers[1],
            ctypes.c_long(out.shape[1]),
            ctypes.c_long(count),
        )
        return np.unpackbits(out, axis=1, bitorder="little")[:, : self._out_bits]


def to_bits(values: npt.ArrayLike, width: int) -> Bits:
    """Return the two's complement of integers: ``[...]`` becomes ``[..., width]``."""
    size = next(size for size in (1, 2, 4, 8) if width <= 8 * size)
    numbers = np.ascontiguousarray(values, f"<i{size}")
    octets = numbers.view(np.uint8).reshape(*numbers.shape, size)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :width]


def from_bits(bits: Bits, signed: bool = True) -> npt.NDArray[np.int64]:
    """Return the integers that ``[..., width]`` bits stand for, of at most 64 bits."""
    width = bits.shape[-1]
    size = next(size for size in (1, 2, 4, 8) if width <= 8 * size)
    extension = bits[..., -1:] if signed else np.zeros_like(bits[..., -1:])
    padding = np.broadcast_to(extension, (*bits.shape[:-1], 8 * size - width))
    octets = np.packbits(np.concatenate([bits, padding], -1), axis=-1, bitorder="little")
    return octets.view(f"<i{size}")[..., 0].astype(np.int64)


def verilated(
    sources: Sequence[Path], top: str, parameters: Mapping[str, int], harness: str
) -> Path:
    """Build a Verilator simulator; return its shared library.

    Parameters
    ----------
    sources : sequence of Path
        SystemVerilog files.
    top : str
        The module to simulate.
    parameters : mapping
        Its parameters.
    harness : str
        The C++ file in the folder ``harness`` that drives it.

    Raises
    ------
    ToolError
        If a tool is missing or refuses the source.
    """
    program = HARNESS / harness

    def build(folder: Path) -> None:
        verilate(folder, sources, top, parameters)
        together = folder / "together.cpp"  # one unit: most of the time goes into common headers
        parts = [program, *sorted(folder.glob("Vtop*.cpp"))]
        together.write_text("".join(f'#include "{part.name}"\n' for part in parts))
        runtime = _runtime()
        include = [folder, HARNESS, *_include()]
        flags = [*_FLAGS, "-O1", f"-Wl,-rpath,{runtime.parent}"]
        compile_cpp(folder / LIBRARY, [together, runtime], include, flags)

    inputs: list[bytes | str] = [
        *(version("verilator"), str(compiler()), top, str(sorted(parameters.items()))),
        *(path.read_bytes() for path in [*sources, program, HARNESS / "ports.h"]),
    ]
    return cached(f"verilator-{top}", inputs, build) / LIBRARY


_FLAGS = ["-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0", "-DVL_TIME_CONTEXT"]


def _include() -> list[Path]:
    root = verilator_root() / "include"
    return [root, root / "vltstd"]


def _runtime() -> Path:
    """Build what every Verilator model is linked with; return the shared library."""
    sources = [verilator_root() / "include" / name for name in RUNTIME]

    def build(folder: Path) -> None:
        compile_cpp(folder / LIBRARY, sources, _include(), [*_FLAGS, "-O1", "-pthread"])

    inputs: list[bytes | str] = [
        version("verilator"),
        str(compiler()),
        *(path.read_bytes() for path in sources),
    ]
    return cached("verilator-runtime", inputs, build) / LIBRARY


def translated(script: str, sources: Sequence[Path], harness: str) -> Path:
    """Build a CXXRTL simulator; return its shared library.

    Parameters
    ----------
    script : str
        Yosys commands that leave one flat module, ``top``, as the design.
    sources : sequence of Path
        The files that they read.
    harness : str
        The C++ file in the folder ``harness`` that drives it.

    Raises
    ------
    ToolError
        If a tool is missing or refuses the source.
    """
    program = HARNESS / harness

    def build(folder: Path) -> None:
        yosys(f"{script}\nwrite_cxxrtl -O6 {folder / 'model.cc'}\n")
        include = [folder, HARNESS, _cxxrtl_runtime()]
        compile_cpp(folder / LIBRARY, [program], include, ["-O1"])

    inputs: list[bytes | str] = [
        *(version("pyosys"), str(compiler()), script),
        *(path.read_bytes() for path in [*sources, program, HARNESS / "ports.h"]),
    ]
    return cached("cxxrtl", inputs, build) / LIBRARY


def _cxxrtl_runtime() -> Path:
    found = importlib.util.find_spec("pyosys")
    if found is None or found.origin is None:
        raise ToolError(missing(verilator=False))
    return Path(found.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
