"""Writes ``memory.json``: energies, areas and leakage of SRAM from CACTI.

``python -P gemm_backends/cost/cacti.py OUT.json`` in an environment (Python 3.12 or newer) that has
``hwcomponents-cacti``; it needs nothing else of this project.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

KILOBYTES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
WIDTH_BITS = 128
NANOMETRES = 45


def table() -> dict[str, Any]:
    """Run CACTI once for each size."""
    module = importlib.import_module("hwcomponents_cacti")
    folder = Path(str(module.__file__)).parent
    sources = sorted((folder / "cacti").glob("*.cc")) + sorted((folder / "cacti").glob("*.h"))
    about = {
        "model": "CACTI 7 as in hwcomponents-cacti",
        "versions": {
            name: metadata.version(name) for name in ("hwcomponents", "hwcomponents-cacti")
        },
        "sources_sha256": hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest(),
        "command": "python -P gemm_backends/cost/cacti.py gemm_backends/cost/memory.json",
        "nanometres": NANOMETRES,
        "width_bits": WIDTH_BITS,
        "units": "pJ for one access of width_bits, mW, square millimetres, ns",
    }
    return {"about": about, "sram": [_row(module, size) for size in KILOBYTES]}


def _row(module: Any, kilobytes: int) -> dict[str, float]:
    memory = module.SRAM(tech_node=NANOMETRES * 1e-9, width=WIDTH_BITS, size=kilobytes * 8192)
    read, write = memory.read(), memory.write()
    return {
        "kilobytes": kilobytes,
        "read_pj": _digits(read.energy * 1e12),
        "write_pj": _digits(write.energy * 1e12),
        "leakage_mw": _digits(memory.leak_power * 1e3),
        "area_mm2": _digits(memory.area * 1e6),
        "latency_ns": _digits(read.latency * 1e9),
    }


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


if __name__ == "__main__":
    content = table()
    rows = ",\n  ".join(json.dumps(row) for row in content["sram"])
    about = json.dumps(content["about"], indent=2)
    Path(sys.argv[1]).write_text(f'{{"about": {about},\n"sram": [\n  {rows}\n]}}\n')
