"""Memories as components: a size, a width, and actions with an energy, a latency and a source."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import unknown_name
from gemm_backends.cost.estimate import Basis

TABLE = Path(__file__).parent / "memory.json"
"""SRAM by CACTI; `gemm_backends.cost.cacti` writes it."""

_HWCOMPONENTS = "as in hwcomponents-cacti 1.0.40"

DRAM_PJ_PER_BIT = {
    "ddr3": (70.0, f"Chatterjee et al., MICRO 2017, {_HWCOMPONENTS}"),
    "lpddr": (40.0, f"Malladi et al., ISCA 2012, {_HWCOMPONENTS}"),
    "lpddr4": (8.0, f"public data on LPDDR4, {_HWCOMPONENTS}"),
    "hbm2": (6.25, f"public data on HBM2, {_HWCOMPONENTS}"),
    "hbm3": (4.05, f"public data on HBM3, {_HWCOMPONENTS}"),
}
"""Energy of one bit from or to DRAM, its interface included, with its source."""


@dataclass(frozen=True)
class Action:
    """One access to a memory, of its whole width.

    Parameters
    ----------
    energy_pj : float
        Energy in picojoules.
    latency_ns : float or None
        Latency in nanoseconds; None if no source gives it.
    """

    energy_pj: float
    latency_ns: float | None


@dataclass(frozen=True)
class Memory:
    """A memory.

    Parameters
    ----------
    name : str
        What it is.
    width_bits : int
        Bits of one access.
    read, write : Action
        What an access takes.
    basis : str
        Whether its figures are cited or interpolated.
    source : str
        Where they come from.
    kilobytes : float or None
        Its size; None for DRAM, which holds everything.
    leakage_mw : float
        Power in milliwatts while it stands by.
    area_mm2 : float
        Its area on the accelerator's chip, in square millimetres.
    """

    name: str
    width_bits: int
    read: Action
    write: Action
    basis: Basis
    source: str
    kilobytes: float | None = None
    leakage_mw: float = 0.0
    area_mm2: float = 0.0

    def energy_pj(self, read_bytes: float, written_bytes: float) -> float:
        """Return the energy of reading and of writing this much, at the full width."""
        reads, writes = (8 * count / self.width_bits for count in (read_bytes, written_bytes))
        return reads * self.read.energy_pj + writes * self.write.energy_pj


def dram(name: str) -> Memory:
    """Return a kind of DRAM by name.

    Raises
    ------
    ValueError
        If it is unknown.
    """
    if name not in DRAM_PJ_PER_BIT:
        raise ValueError(unknown_name("dram", name, DRAM_PJ_PER_BIT))
    energy, source = DRAM_PJ_PER_BIT[name]
    access = Action(energy * 64, None)
    return Memory(name, 64, access, access, "cited", source)


def sram(kilobytes: float) -> Memory:
    """Return an SRAM of this size, in 45 nm.

    Between the sizes of the table every figure is taken to be a power of the size.

    Raises
    ------
    ValueError
        If the size is beyond the table: nothing is extrapolated.
    """
    rows = _rows()
    least, largest = rows[0]["kilobytes"], rows[-1]["kilobytes"]
    if not least <= kilobytes <= largest:
        raise ValueError(f"an SRAM has from {least} to {largest} KB, got {kilobytes}")
    upper = next(i for i, row in enumerate(rows) if row["kilobytes"] >= kilobytes)
    exact = rows[upper]["kilobytes"] == kilobytes
    figures = rows[upper] if exact else _between(rows[upper - 1], rows[upper], kilobytes)
    return Memory(
        f"SRAM of {kilobytes:g} KB",
        _about()["width_bits"],
        Action(figures["read_pj"], figures["latency_ns"]),
        Action(figures["write_pj"], figures["latency_ns"]),
        "cited" if exact else "interpolated",
        sram_source(),
        kilobytes,
        figures["leakage_mw"],
        figures["area_mm2"],
    )


def sram_source() -> str:
    """Return the model and the node that the figures of SRAM come from."""
    about = _about()
    version = about["versions"]["hwcomponents-cacti"]
    return f"{about['model']} {version}, {about['nanometres']} nm"


def _between(
    low: Mapping[str, float], high: Mapping[str, float], kilobytes: float
) -> Mapping[str, float]:
    share = math.log(kilobytes / low["kilobytes"]) / math.log(high["kilobytes"] / low["kilobytes"])
    return {name: low[name] * (high[name] / low[name]) ** share for name in low}


@functools.cache
def _table() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return content


def _about() -> Mapping[str, Any]:
    about: Mapping[str, Any] = _table()["about"]
    return about


def _rows() -> Sequence[Mapping[str, float]]:
    rows: Sequence[Mapping[str, float]] = _table()["sram"]
    return rows
