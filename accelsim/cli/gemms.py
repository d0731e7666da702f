"""The GEMMs of a file on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.config import load_config
from accelsim.config.shipped import SUFFIXES
from accelsim.errors import InputError
from workloads import Gemm, bundle_path, open_bundle, shipped_bundles
from workloads.models.catalog import catalog
from workloads.models.source import FILES, ModelSource


def gemms_of(file: Path) -> Sequence[Gemm]:
    """Return the GEMMs of a config's workloads, a topology, an ONNX model or a bundle.

    Configs (.yaml, .yml) and bundles are given by path or name.
    """
    if file.suffix in SUFFIXES:
        return load_config(file).gemms()
    if file.suffix in FILES:
        return ModelSource(model=str(file)).open(Path())
    if is_model(file):
        raise InputError(
            f"{file} is a model, and its operands are needed: capture them with `accelsim extract "
            f"{file} -o FILE.safetensors`, and name that file"
        )
    return open_bundle(bundle_path(Path(), file)).gemms


def is_model(file: Path) -> bool:
    """Whether a name is that of a model of the catalog or of a folder, and not of a bundle."""
    shipped = {path.stem for path in shipped_bundles()}
    return file.is_dir() or (str(file) in catalog() and str(file) not in shipped)
