"""The columns of tables of modelled accelerators."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from accelsim.records import Status
from accelsim.report.cells import count, number, ratio
from accelsim.report.designs import Design

AMONG = "no product wrong"
"""Of which designs the least area x time is."""

NOT_IN_ENERGY = "without registers, wires, and unpacking unless by an `unpacker`"
"""What no energy has."""

NOT_IN_AREA = "without wires, control, and unpacking unless by an `unpacker`"
"""What no area has."""

_NODE = re.compile(r"\d+ nm")


@dataclass(frozen=True)
class Compared:
    """A design, and the least area x time of its rivals without a wrong product."""

    design: Design
    least: float | None

    @property
    def over_least(self) -> float | None:
        """Area x time over the least."""
        value = self.design.area_time
        return None if value is None or not self.least else value / self.least


@dataclass(frozen=True)
class DesignColumn:
    """One column.

    Parameters
    ----------
    title : str
        Its head.
    meaning : str
        What the head means; empty where that is clear.
    value : callable
        From a design to its value, or None where there is none.
    show : callable
        From a value to its text.
    """

    title: str
    meaning: str
    value: Callable[[Compared], Any]
    show: Callable[[Any], str]


def technology(designs: Iterable[Design]) -> str:
    """Return the node that areas are in, such as ``45 nm``; empty where it is not one for all.

    Parameters
    ----------
    designs : iterable of Design
        Those that are shown.
    """
    texts = {d.records[0].cost_basis.get("area_mm2", "") for d in designs if d.area_mm2}
    found = {node for text in texts for node in _NODE.findall(text)}
    return found.pop() if len(found) == 1 else ""


def _count(value: float) -> str:
    return count(round(value))


def _share(value: float) -> str:
    return f"{value:.1%}"


def _over(value: float) -> str:
    return f"{value:.2f}"


def _exact(compared: Compared) -> str | None:
    records = compared.design.records
    if all(record.status is Status.COUNTED for record in records):
        return None
    return f"{compared.design.exact}/{len(records)}"


def _bound(compared: Compared) -> str | None:
    found = compared.design.bound_by_dram
    if found is None:
        return None
    by_dram, gemms = found
    if by_dram in (0, gemms):
        return "DRAM" if by_dram else "compute"
    return f"DRAM {by_dram}/{gemms}"


COLUMNS = (
    DesignColumn(
        "exact",
        "GEMMs whose every integer equals the oracle's",
        _exact,
        str,
    ),
    DesignColumn(
        "r",
        "low-bit multiplications over those of the GEMMs",
        lambda c: c.design.ratio,
        ratio,
    ),
    DesignColumn("MACs", "low-bit multiply-adds", lambda c: c.design.low_bit_macs, _count),
    DesignColumn(
        "shift-adds",
        "additions of shifted products into C",
        lambda c: c.design.shift_adds,
        _count,
    ),
    DesignColumn(
        "cycles",
        "cycles of the products and the shift-adds; with a memory, stalls too",
        lambda c: c.design.cycles,
        _count,
    ),
    DesignColumn(
        "stalls",
        "share of the cycles in which the array waits for memory",
        lambda c: c.design.stall_share,
        _share,
    ),
    DesignColumn(
        "bound",
        "what bounds the GEMMs by the roofline: DRAM, compute, or DRAM so many of all",
        _bound,
        str,
    ),
    DesignColumn(
        "attained/cycle",
        "low-bit multiply-adds per cycle",
        lambda c: c.design.attained,
        number,
    ),
    DesignColumn(
        "attainable/cycle",
        "the same if every GEMM ran at its roofline, that is as fast as DRAM and the array allow",
        lambda c: c.design.attainable,
        number,
    ),
    DesignColumn(
        "peak/cycle", "the same if the array never waited", lambda c: c.design.peak, number
    ),
    DesignColumn(
        "use",
        "share of the cycles in which a multiplier had a multiplication to do",
        lambda c: c.design.utilization,
        _share,
    ),
    DesignColumn("seconds", "time at the accelerator's clock", lambda c: c.design.seconds, number),
    DesignColumn("DRAM, B", "bytes from and to DRAM", lambda c: c.design.dram_bytes, _count),
    DesignColumn(
        "area, MACs",
        "area of the whole accelerator in 8-bit MACs (multiplier, accumulator and registers)",
        lambda c: c.design.relative_area,
        number,
    ),
    DesignColumn(
        "mm²",
        f"area in the node that the model names, {NOT_IN_AREA}",
        lambda c: c.design.area_mm2,
        number,
    ),
    DesignColumn(
        "area·s",
        "area in 8-bit MACs times seconds",
        lambda c: None if c.design.seconds is None else c.design.area_time,
        number,
    ),
    DesignColumn(
        "area·cycles",
        "area in 8-bit MACs times cycles, as the model has no clock",
        lambda c: c.design.area_time if c.design.seconds is None else None,
        _count,
    ),
    DesignColumn(
        "/least",
        f"area × time divided by the least of the designs with {AMONG}",
        lambda c: c.over_least,
        _over,
    ),
    DesignColumn(
        "energy, J",
        f"energy, {NOT_IN_ENERGY} (its DRAM traffic counts)",
        lambda c: c.design.energy,
        number,
    ),
    DesignColumn(
        "of memory",
        "joules of SRAM, DRAM and leakage",
        lambda c: c.design.energy_of("sram", "dram", "leakage"),
        number,
    ),
    DesignColumn("J·s", "energy times seconds", lambda c: c.design.energy_delay, number),
)
