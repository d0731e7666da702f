"""The GEMMs that a file on the command line stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.config import load_config
from workloads import Gemm, open_bundle


def gemms_of(file: Path) -> Sequence[Gemm]:
    """Return the GEMMs of a config's workloads (.yaml, .yml) or of a bundle."""
    if file.suffix in (".yaml", ".yml"):
        return load_config(file).gemms()
    return open_bundle(file).gemms
