"""The cost of an array with its memories: stalls, traffic, energy by component, area."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gemm_backends.corrections import Corrections
from gemm_backends.cost import area, energy
from gemm_backends.cost.array import REFERENCE, Array, reference_area
from gemm_backends.cost.estimate import Estimate, weakest
from gemm_backends.cost.memory import sram_source
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.tiling import Moved, TileKind, Widths, moved, stalls, tiles
from gemm_backends.types import Cost, Tile, UnpackWork

SUM_BYTES = 8
"""Bytes of an entry of C behind the shift-adders."""

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
    """

    array: Array
    memory: MemorySystem | None = None

    @property
    def tile(self) -> Tile:
        """What the array multiplies at once."""
        return self.array.tile

    def product(self, n: int, d: int, h: int, corrections: Corrections | None = None) -> Cost:
        """Predict what ``[n, d] x [h, d] -> [n, h]`` takes, with what lanes add to it.

        The lists of high digits are read wherever the digits of their operand are; each digit of a
        list meets a line of the other operand, which lanes read from its SRAM.
        """
        bare = self.array.cost(n, d, h, corrections)
        memory = self.memory
        if memory is None or bare.cycles is None:
            return bare
        widths = self._widths(memory)
        if corrections is not None:
            widths = self._with_lists(memory, n, d, h, corrections)
        kinds = tiles(self.array.dataflow, self.tile, n, d, h, widths, memory)
        count = sum(kind.count for kind in kinds)
        if corrections is not None:
            kinds = [self._fed(kind, count, memory, n, h, corrections) for kind in kinds]
        waited = stalls(kinds, bare.cycles / count, memory) if count else 0
        dram, sram = moved(kinds)
        parts = dict(bare.energy_by_pj)
        parts |= self._memory_energy(memory, dram, sram, dram.total)
        known = bare.energy_pj is not None
        traffic = _traffic(dram, sram)
        return self._with_memory(bare, memory, bare.cycles, waited, parts, traffic, known)

    def unpacking(self, work: UnpackWork) -> Cost:
        """Predict the shift-adds and, with memories, the pass that finds and splits heavy hitters.

        The shift-adders run when the products are done: each reads a sum of a product and an entry
        of C, and writes the entry, from SRAM if C fits there and from DRAM if not. The pass reads
        the original floats once and writes their digits, as fast as DRAM allows.
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
        adding = max(float(bare.cycles), times[0], port)
        waited = math.ceil(adding - bare.cycles + times[1])
        parts = {"shift_add": count * energy.ADD_64_PJ}
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
    ) -> Cost:
        whole = busy + waited
        seconds = None if memory.frequency_mhz is None else whole / (memory.frequency_mhz * 1e6)
        parts = dict(parts)
        if seconds is not None:
            power = sum(part.leakage_mw for part in memory.sram.each)
            parts["leakage"] = power * 1e-3 * seconds * 1e12
        places = self.area
        return replace(
            bare,
            cycles=whole,
            stall_cycles=waited,
            seconds=seconds,
            energy_pj=math.fsum(parts.values()) if complete else None,
            energy_by_pj=parts,
            traffic=traffic,
            relative_area=None if places is None else places.value,
            area_um2=None if places is None else places.value * _square_micrometres_of_a_place(),
            model=f"{bare.model}, {self.memory_words}",
            basis={**bare.basis, **self._basis(memory, bare)},
        )

    @functools.cached_property
    def area(self) -> Estimate | None:
        """Area of the array with its SRAM, in places of the reference; None if unknown."""
        array = self.array.relative_area
        if array is None or self.memory is None:
            return array
        memories = [part.area_mm2 * 1e6 for part in self.memory.sram.each]
        places = sum(memories) / _square_micrometres_of_a_place()
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
        return f"{sizes} KB of SRAM{single}, {speed}"

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

    def _basis(self, memory: MemorySystem, bare: Cost) -> dict[str, str]:
        sram = weakest(*(part.basis for part in memory.sram.each))
        basis = {
            "stall_cycles": "computed: tiles of double-buffered loads, docs/emulator.md"
            if memory.double_buffered
            else "computed: loads and computing one after the other, docs/emulator.md",
            "traffic": "computed: reuse of each operand, docs/emulator.md",
            "energy": (
                "computed: the sum of the components; registers, wires and the pass over the "
                "operands are not in it"
            ),
            "energy_of_sram": f"{sram}: {sram_source()}",
            "energy_of_shift_adds": f"interpolated: two additions of 32 bits, {energy.SOURCE}",
        }
        if "energy" in bare.basis:
            basis["energy_of_the_array"] = bare.basis["energy"]
        if memory.dram is not None:
            basis["energy_of_dram"] = f"{memory.dram.basis}: {memory.dram.source}"
        if self.area is not None:
            basis["relative_area"] = (
                f"{self.area.basis}: synthesis, and SRAM by {sram_source()}, over {REFERENCE}; "
                f"the two meet at the 8-bit multiplier, {area.MULTIPLIER_45NM_SOURCE}"
            )
        return basis


def _traffic(
    dram: Moved, sram: Moved, extra: Mapping[str, float] | None = None
) -> dict[str, dict[str, float]]:
    return {"dram": {**dram._asdict(), **(extra or {})}, "sram": sram._asdict()}


@functools.cache
def _square_micrometres_of_a_place() -> float:
    """Return the area of the reference in 45 nm: as synthesized, scaled by its multiplier."""
    return reference_area() * area.MULTIPLIER_45NM_UM2 / area.multiplier(8, 8).value
