"""The GEMMs of a file on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.config import load_config
from accelsim.config.shipped import SUFFIXES
from workloads import Gemm, bundle_path, open_bundle
from workloads.models.source import FILES, ModelSource


def gemms_of(file: Path) -> Sequence[Gemm]:
    """Return the GEMMs of a config's workloads, a topology, an ONNX model or a bundle.

    Configs (.yaml, .yml) and bundles are given by path or name.
    """
    if file.suffix in SUFFIXES:
        return load_config(file).gemms()
    if file.suffix in FILES:
        return ModelSource(model=str(file)).open(Path())
    return open_bundle(bundle_path(Path(), file)).gemms
