"""Runs SCALE-Sim 3 on a grid of GEMMs, for the comparison with the formulas of this package.

``python -m gemm_backends.cost.scalesim PYTHON OUT.csv`` runs the grid with the interpreter PYTHON,
of an environment that has ``scalesim==3.0.0 "numpy<2" "pandas<2.3"``, and writes a table.
"""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gemm_backends.cost.cycles import Dataflow

DATAFLOWS: Mapping[Dataflow, str] = {
    "output-stationary": "os",
    "weight-stationary": "ws",
    "input-stationary": "is",
}
"""The dataflows by SCALE-Sim's names."""

SHAPES = {
    "reference": (128, 576, 192),
    "cube-64": (64, 64, 64),
    "cube-128": (128, 128, 128),
    "block": (256, 128, 256),
    "token": (1, 576, 192),
    "tall": (512, 64, 32),
    "wide": (16, 64, 512),
    "smollm2-qk": (128, 64, 128),
    "smollm2-pv": (128, 128, 64),
    "smollm2-linear": (64, 576, 160),
    "llama-attention": (32, 1024, 128),
    "llama-mlp": (96, 688, 96),
    "odd": (100, 150, 70),
    "short": (192, 96, 192),
    "smollm2-key": (64, 576, 64),
    "llama-head": (64, 128, 64),
    "decode": (4, 256, 256),
    "gradient": (96, 64, 160),
    "deep": (64, 512, 64),
    "square-96": (96, 96, 96),
    "ragged": (33, 65, 97),
}
"""n, d and h: squares, skinny ones, and shapes of SmolLM2 and of Llama-2-7B cut down."""

ARRAY = (32, 32)
SRAM_KB = (32, 64, 256)
BANDWIDTHS = (None, 16)
"""Words per cycle from and to DRAM, for A, B and C each; None for SCALE-Sim's estimate (CALC)."""

CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = {sram_kb}
FilterSramSzkB = {sram_kb}
OfmapSramSzkB = {sram_kb}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
Bandwidth = {bandwidth}
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = {bandwidth}
IfmapSRAMBankNum = 1
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = {bandwidth}
FilterSRAMBankNum = 1
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = {mode}
UseRamulatorTrace = False
"""


@dataclass(frozen=True)
class Simulated:
    """SCALE-Sim's results for one GEMM; memory is counted in words.

    Parameters
    ----------
    name : str
        Of the shape.
    n, d, h : int
        Of ``[n, d] x [h, d]``.
    rows, columns : int
        Of the array.
    dataflow : str
        What stays in place.
    sram_kb : int
        Each of A's, of B's and of C's.
    bandwidth : int or None
        Words per cycle for each of A, B and C; None for SCALE-Sim's estimate.
    cycles, stalls : int
        Its total cycles and the stalls among them.
    sram_a, sram_b : int
        Words read from SRAM.
    dram_a, dram_b, dram_c : int
        Words read from and written to DRAM.
    """

    name: str
    n: int
    d: int
    h: int
    rows: int
    columns: int
    dataflow: Dataflow
    sram_kb: int
    bandwidth: int | None
    cycles: int
    stalls: int
    sram_a: int
    sram_b: int
    dram_a: int
    dram_b: int
    dram_c: int


def topology(shapes: Mapping[str, tuple[int, int, int]]) -> str:
    """Write GEMMs as SCALE-Sim reads them; its M, N and K are n, h and d."""
    lines = [f"{name}, {n}, {h}, {d}," for name, (n, d, h) in shapes.items()]
    return "\n".join(["Layer, M, N, K,", *lines, ""])


def simulate(
    python: str,
    shapes: Mapping[str, tuple[int, int, int]],
    dataflow: Dataflow,
    sram_kb: int,
    bandwidth: int | None,
    array: tuple[int, int] = ARRAY,
) -> list[Simulated]:
    """Run SCALE-Sim on GEMMs, one after the other.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    rows, columns = array
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = CONFIG.format(
            rows=rows,
            columns=columns,
            sram_kb=sram_kb,
            dataflow=DATAFLOWS[dataflow],
            bandwidth=bandwidth or 10,
            mode="CALC" if bandwidth is None else "USER",
        )
        (folder / "array.cfg").write_text(text)
        (folder / "gemms.csv").write_text(topology(shapes))
        (folder / "layout.csv").write_text("Layer,\n" + "x,1,\n" * len(shapes))
        command = [python, "-m", "scalesim.scale", "-c", "array.cfg", "-t", "gemms.csv"]
        command += ["-l", "layout.csv", "-i", "gemm", "-p", "out"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        cycles = _report(folder / "out/run/COMPUTE_REPORT.csv")
        words = _report(folder / "out/run/DETAILED_ACCESS_REPORT.csv")
    return [
        Simulated(
            shape,
            *shapes[shape],
            *array,
            dataflow,
            sram_kb,
            bandwidth,
            int(time["Total Cycles"]),
            int(time["Stall Cycles"]),
            int(access["SRAM IFMAP Reads"]),
            int(access["SRAM Filter Reads"]),
            int(access["DRAM IFMAP Reads"]),
            int(access["DRAM Filter Reads"]),
            int(access["DRAM OFMAP Writes"]),
        )
        for shape, time, access in zip(shapes, cycles, words, strict=True)
    ]


def read(path: Path) -> list[Simulated]:
    """Read a table of `write`."""
    with path.open(newline="") as lines:
        return [
            Simulated(
                **{
                    name: value if name in ("name", "dataflow") else (int(value) if value else None)
                    for name, value in row.items()
                }  # type: ignore[arg-type]
            )
            for row in csv.DictReader(lines)
        ]


def write(path: Path, results: Sequence[Simulated]) -> None:
    """Write results as a table with a line for each."""
    with path.open("w", newline="") as lines:
        table = csv.DictWriter(lines, [field.name for field in fields(Simulated)])
        table.writeheader()
        table.writerows(asdict(result) for result in results)


def grid(python: str) -> Iterator[list[Simulated]]:
    """Run every shape on every accelerator of the comparison."""
    for dataflow, sram_kb, bandwidth in itertools.product(DATAFLOWS, SRAM_KB, BANDWIDTHS):
        yield simulate(python, SHAPES, dataflow, sram_kb, bandwidth)


def _report(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, skipinitialspace=True))


if __name__ == "__main__":
    results: list[Simulated] = []
    for found in grid(sys.argv[1]):
        results += found
        write(Path(sys.argv[2]), results)
