"""``accelsim verify emulator --rtl`` and ``--area``: the emulator against simulated hardware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gemm_backends.actions import Action, Outcome
from gemm_backends.rtl import tools

if TYPE_CHECKING:
    from gemm_backends.base import GemmBackend


def _compare_with_rtl(backend: GemmBackend) -> Iterator[Outcome]:
    from gemm_backends.rtl.proof import prove

    yield from prove()


def _compare_areas(backend: GemmBackend) -> Iterator[Outcome]:
    from gemm_backends.rtl.area_table import verify

    yield from verify()


ACTIONS = (
    Action(
        "verify",
        "rtl",
        "Compare with simulated hardware in SystemVerilog (extra rtl).",
        _compare_with_rtl,
        lambda: tools.missing(),
    ),
    Action(
        "verify",
        "area",
        "Synthesize every part in the table of areas and compare (extra rtl).",
        _compare_areas,
        lambda: tools.missing(verilator=False),
    ),
)
