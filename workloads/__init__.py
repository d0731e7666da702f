"""GEMM workloads: bundles of real operands, and synthetic ones."""

from workloads.bundle import Bundle, open_bundle
from workloads.bundle_writer import write_bundle
from workloads.gemm import OPS, PHASES, Gemm, Operands, select
from workloads.shipped import bundle_path, shipped_bundles
from workloads.sources import EntryError, WorkloadSource, register_source
from workloads.synthetic import HeavyHitters, Synthetic
from workloads.tiling import Tile

__all__ = [
    "OPS",
    "PHASES",
    "Bundle",
    "EntryError",
    "Gemm",
    "HeavyHitters",
    "Operands",
    "Synthetic",
    "Tile",
    "WorkloadSource",
    "bundle_path",
    "open_bundle",
    "register_source",
    "select",
    "shipped_bundles",
    "write_bundle",
]
