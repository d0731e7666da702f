"""Products laid out in time: by default, with a mapping, with lanes, or in SCALE-Sim's way."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gemm_backends.corrections import Corrections
from gemm_backends.cost.array import Array
from gemm_backends.cost.mapping import Mapped, Search
from gemm_backends.cost.nest import tiles_of
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.order import every
from gemm_backends.cost.ring import play
from gemm_backends.cost.search import Found, evaluated, search
from gemm_backends.cost.tiling import Moved, Tiling, Widths

PLACE_BYTES = 4
"""Bytes that say where a single high digit belongs: its row, its column and its power of two."""


class Plan(NamedTuple):
    """A product laid out in time: clocks that the array is busy and waits, and bytes that move."""

    busy: int
    waited: int
    dram: Moved
    sram: Moved
    mapping: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Planner:
    """Lays products out on an array with memories around it.

    Parameters
    ----------
    array : Array
        What computes.
    memory : MemorySystem
        SRAM and DRAM.
    """

    array: Array
    memory: MemorySystem

    def plan(self, n: int, d: int, h: int) -> Plan:
        """Lay a product out in time."""
        if 0 in (n, d, h):
            return Plan(0, 0, Moved(), Moved())
        if self.memory.prefetch == "scalesim":
            return self._scalesim(n, d, h)
        if self.memory.mapping is None:
            return self._default(n, d, h)
        if isinstance(self.memory.mapping, Mapped):
            whole, mapping = {"n": n, "d": d, "h": h}, self.memory.mapping
            found = evaluated(self.array, self.memory, self.widths, whole, mapping)
            return _given(found, "given")
        return _searched(self, self.memory.mapping, n, d, h)

    def each(self, n: int, d: int, h: int) -> list[tuple[int, float, float, float]]:
        """Return every tile of a product, in order, where its mapping is given or the default.

        Each has the clocks that the array takes for it, and the bytes that pass between DRAM and
        the array, that leave to DRAM when it is done, and that come before it begins.
        """
        if isinstance(self.memory.mapping, Mapped):
            whole = {"n": n, "d": d, "h": h}
            clocks, moves = tiles_of(self.array, self.widths, whole, self.memory.mapping)
        else:
            tiling = self._tiling(n, d, h)
            moves = tiling.at(every(*tiling.turns).place)
            clocks = np.full(math.prod(tiling.turns), self.array.clocks(n, d, h))
            clocks = clocks // len(clocks)
        sizes = (moves.during, moves.behind, moves.ahead)
        return [
            (int(busy), float(during), float(behind), float(ahead))
            for busy, during, behind, ahead in zip(clocks, *sizes, strict=False)
        ]

    def _tiling(self, n: int, d: int, h: int) -> Tiling:
        array = self.array
        size = array.dataflow, array.tile, n, d, h
        return Tiling(*size, self.widths, self.memory, cuts=array.cuts(d))

    def _default(self, n: int, d: int, h: int) -> Plan:
        """Take the array's tiles one after another."""
        tiling, busy = self._tiling(n, d, h), self.array.clocks(n, d, h)
        each = busy // math.prod(tiling.turns)
        return Plan(busy, tiling.stalls(each), *tiling.moved())

    def with_lanes(self, n: int, d: int, h: int, corrections: Corrections, late: Tensor) -> Plan:
        """Take the array's tiles one after another, with the lists that its lanes take.

        Parameters
        ----------
        n, d, h : int
            Of the product.
        corrections : Corrections
            The lists of high digits. They are spread evenly over the digits of their operands, and
            what lanes read from SRAM over the tiles.
        late : Tensor
            Clocks by which lanes outlast the array, ``[tiles of n, tiles of h]``.
        """
        array, memory = self.array, self.memory
        if 0 in (n, d, h):
            return Plan(int(late.sum()), 0, Moved(), Moved())
        a = corrections.b.digits.entries * n * self.widths.a / late.numel()
        b = corrections.a.digits.entries * h * self.widths.b / late.numel()
        widths = self._with_lists(n, d, h, corrections)
        tiling = Tiling(array.dataflow, array.tile, n, d, h, widths, memory, (a, b))
        alone = array.clocks(n, d, h) // late.numel()
        each = alone + late.T.to(torch.int64).numpy(force=True)
        return Plan(int(each.sum()), tiling.stalls(each), *tiling.moved())

    def _scalesim(self, n: int, d: int, h: int) -> Plan:
        """Take the array's tiles one after another, with SCALE-Sim's buffers."""
        usual = self._default(n, d, h)
        flow, (rows, columns) = self.array.dataflow, self.array.shape
        sram = self.memory.sram
        sizes = (self.memory.words(sram.a), self.memory.words(sram.b), self.memory.words(sram.c))
        found = play(flow, rows, columns, n, d, h, sizes, self.memory.words_per_clock)
        width = self.memory.bytes_of(0)
        dram = Moved(found.a * width, found.b * width, 0, found.c * width)
        return Plan(usual.busy, found.stall_cycles, dram, usual.sram)

    def search(self, least: Search, n: int, d: int, h: int) -> Plan:
        """Return the best of the default and of all mappings that a search compares.

        Parameters
        ----------
        least : {"cycles", "energy"}
            What is to be least; the other one decides between equals.
        n, d, h : int
            Of the product, at least 1.
        """
        usual = self._default(n, d, h)
        whole = {"n": n, "d": d, "h": h}

        def energy(dram: Moved, sram: Moved, clocks: Any) -> Any:
            return self._energy_of(dram, sram, clocks)

        found = search(self.array, self.memory, self.widths, whole, least, energy)
        if found is None:
            return usual._replace(mapping={"chosen": "default: its memories hold no tile"})
        best = f"the least {least} of {found.tried + 1}"
        usual = usual._replace(mapping={"chosen": f"default: {best}"})
        plan = _given(found, best)

        def rank(plan: Plan) -> tuple[float, float]:
            clocks = float(plan.busy + plan.waited)
            joules = float(energy(plan.dram, plan.sram, clocks))
            return (clocks, joules) if least == "cycles" else (joules, clocks)

        return min(usual, plan, key=rank)

    @functools.cached_property
    def widths(self) -> Widths:
        """Bytes of a digit of A, of one of B and of a sum."""
        a, b = self.array.bits
        sums = self.array.datapath.result.bits
        return Widths(self.memory.bytes_of(a), self.memory.bytes_of(b), self.memory.bytes_of(sums))

    def _with_lists(self, n: int, d: int, h: int, corrections: Corrections) -> Widths:
        """Spread the bytes of the lists of high digits over the digits of their operands."""
        widths = self.widths
        a, b = (
            listed.digits.entries * (width + PLACE_BYTES) / max(1, rows * d)
            for listed, width, rows in (
                (corrections.a, widths.a, n),
                (corrections.b, widths.b, h),
            )
        )
        return widths._replace(a=widths.a + a, b=widths.b + b)

    def memory_energy(self, dram: Moved, sram: Moved, dram_bytes: float) -> dict[str, float]:
        """Return the energy of the SRAM, filled from DRAM and emptied to it too, and of DRAM."""
        a, b, c = self.memory.sram.each
        parts = {
            "sram": a.energy_pj(sram.a, dram.a)
            + b.energy_pj(sram.b, dram.b)
            + c.energy_pj(sram.c_read + dram.c_write, sram.c_write + dram.c_read)
        }
        if self.memory.dram is not None:
            parts["dram"] = self.memory.dram.energy_pj(dram_bytes, 0)
        return parts

    def _energy_of(self, dram: Moved, sram: Moved, clocks: Any) -> Any:
        """Return the energy that depends on the mapping, of one or of many."""
        parts = self.memory_energy(dram, sram, dram.total)
        return sum(parts.values()) + leakage(self.memory, clocks)


def _given(found: Found, how: str) -> Plan:
    waited = math.ceil(found.cycles - found.compute_cycles)
    mapping = {**found.mapping.to_record(), "chosen": how}
    return Plan(found.compute_cycles, waited, found.dram, found.sram, mapping)


@functools.lru_cache(maxsize=1 << 14)
def _searched(planner: Planner, least: Search, n: int, d: int, h: int) -> Plan:
    return planner.search(least, n, d, h)


def leakage(memory: MemorySystem, clocks: Any) -> Any:
    """Return the picojoules that the SRAM leaks in so many clocks; 0 where there is no clock."""
    if memory.frequency_mhz is None:
        return 0.0
    power = sum(part.leakage_mw for part in memory.sram.each)
    return power * 1e3 * clocks / memory.frequency_mhz
