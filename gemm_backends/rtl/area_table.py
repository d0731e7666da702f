"""The table of areas: made by synthesis, and compared with it.

``python -m gemm_backends.rtl.area_table`` writes the committed table again;
``accelsim verify emulator --area`` synthesizes everything in it and compares.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from accelsim.errors import AccelsimError, InputError
from gemm_backends.actions import Outcome
from gemm_backends.cost.area import TABLE, load_table
from gemm_backends.rtl.synthesis import CELLS, MODULES, SCRIPT, Component, synthesize
from gemm_backends.rtl.tools import version

ACCUMULATOR_WIDTHS = (8, 12, 16, 20, 24, 32, 48, 64)
ADDEND_WIDTHS = (4, 6, 8, 10, 12, 14, 16, 24, 32, 64)

CORRECTED_WIDTHS = (12, 16, 24, 32, 48, 64)
"""Of accumulators that lanes correct."""

LINES = (1, 8, 32, 128, 512)
"""Places of a line that a bank of lanes takes, and groups that it takes them in."""

TOLERANCE = 0.1
"""Largest relative difference of areas under another version of Yosys than the table's."""


def components() -> list[Component]:
    """Return everything that the table holds."""
    rows: list[tuple[str, dict[str, int]]] = [("skew", {"W": 1, "DELAY": 1})]
    rows += [("multiplier", {"A": a, "B": b}) for a in range(2, 17) for b in range(2, a + 1)]
    rows += [
        ("accumulator", {"P": p, "W": w, "SATURATE": s})
        for p, w, s in itertools.product(ADDEND_WIDTHS, ACCUMULATOR_WIDTHS, (0, 1))
    ]
    macs = [*((b, 32) for b in range(2, 17)), *((4, w) for w in (12, 16, 20, 24))]
    rows += [("mac", {"A": b, "B": b, "W": w, "SATURATE": 0}) for b, w in macs]
    rows += [("adder", {"P": p}) for p in (4, 8, 12, 16, 20, 24, 32, 48)]
    rows += [("shift_add", {"W": w, "S": 64}) for w in ACCUMULATOR_WIDTHS]
    lanes = [(b, w) for b in range(2, 17) for w in CORRECTED_WIDTHS if w > b]
    rows += [("corrected_accumulator", {"P": 2 * b, "W": w, "UNIT": b}) for b, w in lanes]
    rows += [("lane", {"B": b, "W": w, "UNIT": b}) for b, w in lanes]
    rows += [("lane_control", {"S": s, "GROUPS": g}) for s in LINES for g in LINES]
    rows += [("gate", {"W": 1}), ("round_scaled", {"I": 32})]
    rows += [("split_value", {"B": b, "I": 32}) for b in range(2, 17)]
    return [Component(module, tuple(parameters.items())) for module, parameters in rows]


def described() -> dict[str, Any]:
    """Return what areas depend on, other than the version of Yosys."""
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in MODULES)).hexdigest()
    return {
        "unit": "square micrometres of 180 nm standard cells; only ratios are meant",
        "cells": CELLS.name,
        "cells_sha256": hashlib.sha256(CELLS.read_bytes()).hexdigest(),
        "sources": [path.name for path in MODULES],
        "sources_sha256": sources,
        "script": SCRIPT.splitlines(),
    }


def table() -> str:
    """Synthesize everything; return the table as JSON, one component a line.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """
    every = components()
    rows = [
        json.dumps({"module": c.module, "parameters": dict(c.parameters), "area": area})
        for c, area in zip(every, _areas(every), strict=True)
    ]
    about = json.dumps({**described(), "pyosys": version("pyosys")}, indent=2)
    listed = ",\n  ".join(rows)
    return f'{{"about": {about},\n"areas": [\n  {listed}\n]}}\n'


def compare(wanted: Sequence[Component]) -> str:
    """Synthesize components again and compare them with the committed table.

    Returns
    -------
    str
        What was compared.

    Raises
    ------
    InputError
        If an area differs, is missing, or the table was made from other sources.
    ToolError
        If Yosys is missing or fails.
    """
    committed = load_table()
    if {k: v for k, v in committed.about.items() if k != "pyosys"} != described():
        raise InputError("the table is of other sources, cells or another script: make it again")
    same = committed.about["pyosys"] == version("pyosys")
    allowed, worst = (0.0 if same else TOLERANCE), 0.0
    for component, area in zip(wanted, _areas(wanted), strict=True):
        known = committed.exact(component.module, dict(component.parameters))
        if known is None:
            raise InputError(f"the table lacks {component.name}")
        difference = abs(area / known - 1)
        worst = max(worst, difference)
        if difference > allowed:
            raise InputError(f"{component.name}: area {area:g}, and {known:g} in the table")
    outcome = "equal" if same else f"equal to {worst:.1%}, by another version of Yosys"
    return f"{len(wanted)} of {len(committed.rows)} areas: {outcome}"


def verify() -> Iterator[Outcome]:
    """Compare the whole table: what ``accelsim verify emulator --area`` runs."""
    start = time.perf_counter()
    try:
        found = "passed", compare(components())
    except AccelsimError as error:
        found = "failed", str(error)
    yield Outcome("area table", *found, time.perf_counter() - start)  # type: ignore[arg-type]


def _areas(wanted: Sequence[Component]) -> list[float]:
    with ThreadPoolExecutor(2) as pool:
        return [netlist.area for netlist in pool.map(synthesize, wanted)]


if __name__ == "__main__":
    TABLE.write_text(table())
