"""The cost of an array with its memories: stalls, traffic, energy by component, area."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from accelsim.errors import InputError
from accelsim.plugins.options import OptionError
from gemm_backends.corrections import Corrections
from gemm_backends.cost import area, energy
from gemm_backends.cost.array import REFERENCE, Array, reference_area
from gemm_backends.cost.estimate import Estimate, weakest
from gemm_backends.cost.mapping import DIMENSIONS, Mapped, Search
from gemm_backends.cost.memory import sram_source
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.ring import play
from gemm_backends.cost.search import Found, check_room, evaluated, search
from gemm_backends.cost.tiling import Moved, TileKind, Widths, moved, stalls, tiles
from gemm_backends.types import Cost, Tile, UnpackWork

SUM_BYTES = 8
"""Bytes of an entry of C behind the shift-adders."""

MOST_VALUES = 65536
"""Values a clock of the widest unpacker."""

PLACE_BYTES = 4
"""Bytes that say where a single high digit belongs: its row, its column and its power of two."""

MAP_BYTES = 4
"""Bytes that say which line of C, with which power of two, an unpacked line belongs to."""


@dataclass(frozen=True)
class Accelerator:
    """An array, with or without memories around it; a `gemm_backends.cost.model.CostModel`.

    Parameters
    ----------
    array : Array
        Multipliers, accumulators and shift-adders.
    memory : MemorySystem or None
        SRAM and DRAM; None for an array whose operands are there when it wants them.
    unpacker : int
        Values a clock that the unit takes which rounds operands and splits heavy hitters on their
        way in; 0 where something else does that, as fast as DRAM allows.

    Raises
    ------
    ValueError
        If there is an unpacker and no memory.
    """

    array: Array
    memory: MemorySystem | None = None
    unpacker: int = 0

    def __post_init__(self) -> None:
        memory, path = self.memory, self.array.datapath
        if not 0 <= self.unpacker <= MOST_VALUES:
            raise ValueError(f"unpacker must be from 0 to {MOST_VALUES}, got {self.unpacker}")
        if self.unpacker and memory is None:
            raise ValueError("unpacker needs a memory: without one operands are there when wanted")
        if memory is None:
            return
        if self.array.correction_lanes and (memory.mapping or memory.prefetch != "tiles"):
            key = "mapping" if memory.mapping else "prefetch"
            message = f"memory.{key} is for an array without correction_lanes"
            raise OptionError(message, "memory", key)
        if memory.prefetch != "scalesim":
            return
        if self.array.drain or path.tree > 1 or path.k_block is not None:
            raise OptionError(
                "memory.prefetch: scalesim is for an array without drain, tree and k_block, as "
                "SCALE-Sim has none",
                "memory",
                "prefetch",
            )

    @property
    def tile(self) -> Tile:
        """What the array multiplies in one step."""
        return self.array.tile

    def check_tile(self) -> None:
        """See that the memories hold the tile of a given mapping, at the array's widths.

        Raises
        ------
        OptionError
            If they do not.
        """
        memory = self.memory
        if memory is None or not isinstance(memory.mapping, Mapped):
            return
        whole = {name: getattr(memory.mapping, name) for name in DIMENSIONS}
        sizes = {name: np.array([size], np.int64) for name, size in whole.items()}
        try:
            check_room(self.array, memory, self._widths(memory), whole, sizes)
        except InputError as error:
            raise OptionError(str(error), "memory", "mapping", "tile") from error

    def product(self, n: int, d: int, h: int, corrections: Corrections | None = None) -> Cost:
        """Predict what ``[n, d] x [h, d] -> [n, h]`` takes, with what lanes add to it.

        The lists of high digits are read wherever the digits of their operand are; each digit of a
        list meets a line of the other operand, which lanes read from its SRAM.
        """
        bare = self.array.cost(n, d, h, corrections)
        memory = self.memory
        if memory is None or bare.cycles is None:
            return bare
        if corrections is None:
            plan = self._plan(memory, n, d, h)
        else:
            plan = self._with_lanes(memory, n, d, h, corrections, round(bare.cycles))
        parts = dict(bare.energy_by_pj)
        parts |= self._memory_energy(memory, plan.dram, plan.sram, plan.dram.total)
        known = bare.energy_pj is not None
        traffic = _traffic(plan.dram, plan.sram)
        return self._with_memory(
            bare, memory, plan.busy, plan.waited, parts, traffic, known, plan.mapping
        )

    def _plan(self, memory: MemorySystem, n: int, d: int, h: int) -> _Plan:
        """Lay a product out in time."""
        if 0 in (n, d, h):
            return _Plan(0, 0, Moved(), Moved())
        if memory.prefetch == "scalesim":
            return self._scalesim(memory, n, d, h)
        if memory.mapping is None:
            return self._default(memory, n, d, h)
        if isinstance(memory.mapping, Mapped):
            whole = {"n": n, "d": d, "h": h}
            widths = self._widths(memory)
            return _given(evaluated(self.array, memory, widths, whole, memory.mapping), "given")
        return _searched(self, memory.mapping, n, d, h)

    def _default(self, memory: MemorySystem, n: int, d: int, h: int) -> _Plan:
        """Take the array's tiles one after another."""
        kinds = tiles(self.array.dataflow, self.tile, n, d, h, self._widths(memory), memory)
        busy = self.array.clocks(n, d, h)
        waited = stalls(kinds, busy / sum(kind.count for kind in kinds), memory)
        return _Plan(busy, waited, *moved(kinds))

    def _with_lanes(
        self,
        memory: MemorySystem,
        n: int,
        d: int,
        h: int,
        corrections: Corrections,
        busy: int,
    ) -> _Plan:
        """Take the array's tiles one after another, with the lists that its lanes take."""
        widths = self._with_lists(memory, n, d, h, corrections)
        kinds = tiles(self.array.dataflow, self.tile, n, d, h, widths, memory)
        count = sum(kind.count for kind in kinds)
        kinds = [self._fed(kind, count, memory, n, h, corrections) for kind in kinds]
        waited = stalls(kinds, busy / count, memory) if count else 0
        return _Plan(busy, waited, *moved(kinds))

    def _scalesim(self, memory: MemorySystem, n: int, d: int, h: int) -> _Plan:
        """Take the array's tiles one after another, with SCALE-Sim's buffers."""
        usual = self._default(memory, n, d, h)
        flow, (rows, columns) = self.array.dataflow, self.array.shape
        sram = memory.sram
        sizes = (memory.words(sram.a), memory.words(sram.b), memory.words(sram.c))
        found = play(flow, rows, columns, n, d, h, sizes, memory.words_per_clock)
        width = memory.bytes_of(0)
        dram = Moved(found.a * width, found.b * width, 0, found.c * width)
        return _Plan(usual.busy, found.stall_cycles, dram, usual.sram)

    def search(self, least: Search, n: int, d: int, h: int) -> _Plan:
        """Return the best of the default and of all mappings that a search compares.

        Parameters
        ----------
        least : {"cycles", "energy"}
            What is to be least; the other one decides between equals.
        n, d, h : int
            Of the product, at least 1.
        """
        memory = self.memory
        assert memory is not None
        usual = self._default(memory, n, d, h)
        whole = {"n": n, "d": d, "h": h}

        def energy(dram: Moved, sram: Moved, clocks: Any) -> Any:
            return self._energy_of(memory, dram, sram, clocks)

        found = search(self.array, memory, self._widths(memory), whole, least, energy)
        if found is None:
            return usual._replace(mapping={"chosen": "default: its memories hold no tile"})
        best = f"the least {least} of {found.tried + 1}"
        usual = usual._replace(mapping={"chosen": f"default: {best}"})
        plan = _given(found, best)

        def rank(plan: _Plan) -> tuple[float, float]:
            clocks = float(plan.busy + plan.waited)
            joules = float(energy(plan.dram, plan.sram, clocks))
            return (clocks, joules) if least == "cycles" else (joules, clocks)

        return min(usual, plan, key=rank)

    def unpacking(self, work: UnpackWork) -> Cost:
        """Predict the shift-adds and, with memories, the pass that finds and splits heavy hitters.

        The shift-adders run when the products are done: each reads a sum of a product and an entry
        of C, and writes the entry, from SRAM if C fits there and from DRAM if not. The pass reads
        the original floats once and writes their digits, as fast as DRAM and the unpacker allow.
        """
        bare = self.array.shift_add_cost(work.shift_adds)
        memory = self.memory
        if memory is None or bare.cycles is None:
            return bare
        count, width = work.shift_adds, self._widths(memory).c
        back, out = count * (width + SUM_BYTES), count * float(SUM_BYTES)
        sram = Moved(c_read=back, c_write=out)
        inside = memory.holds(memory.sram.c, work.sums * SUM_BYTES)
        dram = Moved() if inside else sram
        digits = work.digits_a * memory.bytes_of(self.array.bits[0])
        digits += work.digits_b * memory.bytes_of(self.array.bits[1])
        digits += work.entries * (memory.bytes_of(max(self.array.bits)) + PLACE_BYTES)
        front_end = work.operand_bytes + digits
        maps = 2.0 * MAP_BYTES * work.mapped_lines  # written by the pass, read by the shift-adders
        times = [
            0.0 if memory.dram_bandwidth is None else size / memory.dram_bandwidth
            for size in (dram.total, front_end + maps)
        ]
        port = 0.0 if memory.sram_bandwidth is None else sram.total / memory.sram_bandwidth
        if self.unpacker:
            times[1] = max(times[1], work.values / self.unpacker)
        adding = max(float(bare.cycles), times[0], port)
        waited = math.ceil(adding - bare.cycles + times[1])
        parts = {"shift_add": count * energy.ADD_64_PJ}
        if self.unpacker:
            parts["unpacker"] = work.values * energy.unpacker(max(self.array.bits))
        parts |= self._memory_energy(memory, dram, sram, dram.total + front_end + maps)
        extra = {"front_end": front_end, "maps": maps}
        traffic = _traffic(dram, sram, extra)
        return self._with_memory(bare, memory, bare.cycles, waited, parts, traffic)

    def _with_memory(
        self,
        bare: Cost,
        memory: MemorySystem,
        busy: float,
        waited: int,
        parts: Mapping[str, float],
        traffic: Mapping[str, Mapping[str, float]],
        complete: bool = True,
        mapping: Mapping[str, Any] = MappingProxyType({}),
    ) -> Cost:
        whole = busy + waited
        seconds = None if memory.frequency_mhz is None else whole / (memory.frequency_mhz * 1e6)
        parts = dict(parts)
        if seconds is not None:
            parts["leakage"] = _leakage(memory, whole)
        places = self.area
        basis = self._basis_of_memory
        if "energy" in bare.basis:
            basis = basis | {"energy_of_the_array": bare.basis["energy"]}
        return Cost(
            peak_macs=bare.peak_macs,
            mapping=mapping,
            dram_bandwidth=memory.dram_bandwidth,
            cycles=whole,
            stall_cycles=waited,
            seconds=seconds,
            energy_pj=math.fsum(parts.values()) if complete else None,
            energy_by_pj=parts,
            traffic=traffic,
            relative_area=None if places is None else places.value,
            area_um2=None if places is None else places.value * _square_micrometres_of_a_place(),
            model=f"{bare.model}, {self.memory_words}",
            basis={**bare.basis, **basis},
        )

    @functools.cached_property
    def area(self) -> Estimate | None:
        """Area of the array with its SRAM, in places of the reference; None if unknown."""
        array = self.array.relative_area
        if array is None or self.memory is None:
            return array
        memories = [part.area_mm2 * 1e6 for part in self.memory.sram.each]
        places = sum(memories) / _square_micrometres_of_a_place()
        if self.unpacker:
            places += self.unpacker * area.unpacker(max(self.array.bits)).value / reference_area()
        return Estimate(array.value + places, weakest(array.basis, "interpolated"))

    @functools.cached_property
    def memory_words(self) -> str:
        """The memories in a few words."""
        memory = self.memory
        if memory is None:
            return "no memory"
        sizes = " + ".join(f"{part.kilobytes:g}" for part in memory.sram.each)
        single = "" if memory.double_buffered else ", single-buffered"
        reach = memory.dram_bandwidth
        speed = "unlimited DRAM" if reach is None else f"{reach:g} bytes per cycle of DRAM"
        unpacker = f", {self.unpacker} values a clock unpacked" if self.unpacker else ""
        return f"{sizes} KB of SRAM{single}, {speed}{unpacker}{_mapping_words(memory)}"

    def _widths(self, memory: MemorySystem) -> Widths:
        a, b = self.array.bits
        sums = self.array.datapath.result.bits
        return Widths(memory.bytes_of(a), memory.bytes_of(b), memory.bytes_of(sums))

    def _with_lists(
        self, memory: MemorySystem, n: int, d: int, h: int, corrections: Corrections
    ) -> Widths:
        """Spread the bytes of the lists of high digits over the digits of their operands."""
        widths = self._widths(memory)
        a, b = (
            listed.digits.entries * (width + PLACE_BYTES) / max(1, rows * d)
            for listed, width, rows in (
                (corrections.a, widths.a, n),
                (corrections.b, widths.b, h),
            )
        )
        return widths._replace(a=widths.a + a, b=widths.b + b)

    def _fed(
        self,
        kind: TileKind,
        count: int,
        memory: MemorySystem,
        n: int,
        h: int,
        corrections: Corrections,
    ) -> TileKind:
        """Add what lanes read from SRAM, the same for each of `count` tiles."""
        widths = self._widths(memory)
        a = corrections.b.digits.entries * n * widths.a / count
        b = corrections.a.digits.entries * h * widths.b / count
        sram = kind.sram._replace(a=kind.sram.a + a, b=kind.sram.b + b)
        return replace(kind, sram=sram)

    def _memory_energy(
        self, memory: MemorySystem, dram: Moved, sram: Moved, dram_bytes: float
    ) -> dict[str, float]:
        """Return the energy of the SRAM, filled from DRAM and emptied to it too, and of DRAM."""
        a, b, c = memory.sram.each
        parts = {
            "sram": a.energy_pj(sram.a, dram.a)
            + b.energy_pj(sram.b, dram.b)
            + c.energy_pj(sram.c_read + dram.c_write, sram.c_write + dram.c_read)
        }
        if memory.dram is not None:
            parts["dram"] = memory.dram.energy_pj(dram_bytes, 0)
        return parts

    def _energy_of(self, memory: MemorySystem, dram: Moved, sram: Moved, clocks: Any) -> Any:
        """Return the energy that depends on the mapping, of one or of many."""
        parts = self._memory_energy(memory, dram, sram, dram.total)
        return sum(parts.values()) + _leakage(memory, clocks)

    @functools.cached_property
    def _basis_of_memory(self) -> dict[str, str]:
        memory = self.memory
        assert memory is not None
        sram = weakest(*(part.basis for part in memory.sram.each))
        loads = "tiles of double-buffered loads"
        if memory.prefetch == "scalesim":
            loads = "the buffers of SCALE-Sim 3, clock by clock"
        elif not memory.double_buffered:
            loads = "loads and computing one after the other"
        basis = {
            "stall_cycles": f"computed: {loads}, docs/emulator.md",
            "traffic": "computed: reuse of each operand, docs/emulator.md",
            "energy": (
                "computed: the sum of the components; registers, wires and, without an unpacker, "
                "the pass over the operands are not in it"
            ),
            "energy_of_sram": f"{sram}: {sram_source()}",
            "energy_of_shift_adds": f"interpolated: two additions of 32 bits, {energy.SOURCE}",
        }
        if memory.dram is not None:
            basis["energy_of_dram"] = f"{memory.dram.basis}: {memory.dram.source}"
        if self.area is not None:
            basis["area_mm2"] = (
                f"{self.area.basis}: 45 nm, SRAM by {sram_source()}, the array as synthesized and "
                f"scaled by its 8-bit multiplier, {area.MULTIPLIER_45NM_SOURCE}"
            )
            basis["relative_area"] = (
                f"{self.area.basis}: synthesis, and SRAM by {sram_source()}, over {REFERENCE}; "
                f"the two meet at the 8-bit multiplier, {area.MULTIPLIER_45NM_SOURCE}"
            )
        return basis


class _Plan(NamedTuple):
    """A product laid out in time: clocks that the array is busy and waits, and bytes that move."""

    busy: int
    waited: int
    dram: Moved
    sram: Moved
    mapping: Mapping[str, Any] = MappingProxyType({})


def _given(found: Found, how: str) -> _Plan:
    waited = math.ceil(found.cycles - found.compute_cycles)
    mapping = {**found.mapping.to_record(), "chosen": how}
    return _Plan(found.compute_cycles, waited, found.dram, found.sram, mapping)


@functools.lru_cache(maxsize=1 << 14)
def _searched(accelerator: Accelerator, least: Search, n: int, d: int, h: int) -> _Plan:
    return accelerator.search(least, n, d, h)


def _leakage(memory: MemorySystem, clocks: Any) -> Any:
    """Return the picojoules that the SRAM leaks in so many clocks; 0 where there is no clock."""
    if memory.frequency_mhz is None:
        return 0.0
    power = sum(part.leakage_mw for part in memory.sram.each)
    return power * 1e3 * clocks / memory.frequency_mhz


def _mapping_words(memory: MemorySystem) -> str:
    if memory.prefetch == "scalesim":
        return ", prefetched as by SCALE-Sim"
    if memory.mapping is None:
        return ""
    if isinstance(memory.mapping, Mapped):
        one = memory.mapping
        return f", tiles of {one.n}x{one.d}x{one.h} in the order {', '.join(one.order)}"
    return f", mapped for the least {memory.mapping}"


def _traffic(
    dram: Moved, sram: Moved, extra: Mapping[str, float] | None = None
) -> dict[str, dict[str, float]]:
    return {"dram": {**dram._asdict(), **(extra or {})}, "sram": sram._asdict()}


@functools.cache
def _square_micrometres_of_a_place() -> float:
    """Return the area of the reference in 45 nm: as synthesized, scaled by its multiplier."""
    return reference_area() * area.MULTIPLIER_45NM_UM2 / area.multiplier(8, 8).value
