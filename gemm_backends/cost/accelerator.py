"""The cost of an array with its memories: stalls, traffic, energy by component, area."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from accelsim.errors import InputError
from accelsim.plugins.options import OptionError
from gemm_backends.corrections import Corrections
from gemm_backends.cost import area, energy
from gemm_backends.cost.array import REFERENCE, Array, reference_area
from gemm_backends.cost.estimate import Estimate, weakest
from gemm_backends.cost.mapping import DIMENSIONS, Mapped
from gemm_backends.cost.memory import sram_source
from gemm_backends.cost.options import MemorySystem
from gemm_backends.cost.plan import PLACE_BYTES, Planner, leakage
from gemm_backends.cost.search import check_room
from gemm_backends.cost.tiling import Moved
from gemm_backends.types import Cost, Tile, UnpackWork

SUM_BYTES = 8
"""Bytes of an entry of C behind the shift-adders."""

MOST_VALUES = 65536
"""Values a clock of the widest unpacker."""

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

    @functools.cached_property
    def _planner(self) -> Planner:
        assert self.memory is not None, "only memories need a plan"
        return Planner(self.array, self.memory)

    @property
    def tile(self) -> Tile:
        """What the array multiplies in one step."""
        return self.array.tile

    def check_memory(self) -> None:
        """See that the memories hold the array's digits and the tile of a given mapping.

        Raises
        ------
        OptionError
            If a word is narrower than a digit, an SRAM does not hold what the array takes in a
            clock, or the tile of a given mapping does not fit.
        """
        memory, widest = self.memory, max(self.array.bits)
        if memory is None:
            return
        if memory.word_bits is not None and memory.word_bits < widest:
            message = (
                f"a word of {memory.word_bits} bits does not hold a digit of {widest}; "
                f"memory.word_bits must be at least {widest}"
            )
            raise OptionError(message, "memory", "word_bits")
        for name, part, needed in zip("abc", memory.sram.each, self._taken(memory), strict=True):
            if needed > memory.room(part):
                half = "half of " if memory.double_buffered else ""
                message = (
                    f"an SRAM of {part.kilobytes:g} KB is too small for this array: {half}it must "
                    f"hold the {math.ceil(needed):,} bytes of {name.upper()} that the array takes "
                    "in a clock"
                )
                raise OptionError(message, "memory", "sram_kb", name)
        if not isinstance(memory.mapping, Mapped):
            return
        whole = {name: getattr(memory.mapping, name) for name in DIMENSIONS}
        sizes = {name: np.array([size], np.int64) for name, size in whole.items()}
        try:
            check_room(self.array, memory, self._planner.widths, whole, sizes)
        except InputError as error:
            raise OptionError(str(error), "memory", "mapping", "tile") from error

    def _taken(self, memory: MemorySystem) -> tuple[float, float, float]:
        """Return the bytes of A, of B and of sums that the array takes or gives in a clock."""
        rows, columns = self.array.shape
        digits, widths = self.array.datapath.tree, self._planner.widths
        down, across = (
            (columns, rows) if self.array.dataflow == "input-stationary" else (rows, columns)
        )
        return digits * down * widths.a, digits * across * widths.b, columns * widths.c

    def product(self, n: int, d: int, h: int, corrections: Corrections | None = None) -> Cost:
        """Predict what ``[n, d] x [h, d] -> [n, h]`` takes, with what lanes add to it.

        The lists of high digits are read wherever the digits of their operand are; each digit of a
        list meets a line of the other operand, which lanes read from its SRAM.
        """
        late = None if corrections is None else self.array.late(n, d, h, corrections)
        bare = self.array.cost(n, d, h, corrections, 0 if late is None else int(late.sum()))
        memory = self.memory
        if memory is None or bare.cycles is None:
            return bare
        if corrections is None or late is None:
            plan = self._planner.plan(n, d, h)
        else:
            plan = self._planner.with_lanes(n, d, h, corrections, late)
        parts = dict(bare.energy_by_pj)
        parts |= self._planner.memory_energy(plan.dram, plan.sram, plan.dram.total)
        known = bare.energy_pj is not None
        traffic = _traffic(plan.dram, plan.sram)
        return self._with_memory(
            bare, memory, plan.busy, plan.waited, parts, traffic, known, plan.mapping
        )

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
        count, width = work.shift_adds, self._planner.widths.c
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
        parts |= self._planner.memory_energy(dram, sram, dram.total + front_end + maps)
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
            parts["leakage"] = leakage(memory, whole)
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
        each = [f"{part.kilobytes:g}" for part in memory.sram.each]
        sizes = f"3 x {each[0]}" if len({*each}) == 1 else " + ".join(each)
        single = "" if memory.double_buffered else ", single-buffered"
        reach = memory.dram_bandwidth
        speed = "unlimited DRAM" if reach is None else f"{reach:g} bytes per cycle of DRAM"
        kind = "" if memory.dram is None else f" ({memory.dram.name})"
        clock = memory.frequency_mhz
        rate = "no clock" if clock is None else f"{clock:g} MHz"
        unpacker = f", {self.unpacker} values a clock unpacked" if self.unpacker else ""
        parts = f"{sizes} KB of SRAM{single}, {speed}{kind}, {rate}{unpacker}"
        return f"{parts}, {_mapping_words(memory)}"

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


def _mapping_words(memory: MemorySystem) -> str:
    if memory.prefetch == "scalesim":
        return "prefetched as by SCALE-Sim"
    if memory.mapping is None:
        return "the default order of tiles"
    if isinstance(memory.mapping, Mapped):
        one = memory.mapping
        return f"tiles of {one.n}x{one.d}x{one.h} in the order {', '.join(one.order)}"
    return f"mapped for the least {memory.mapping}"


def _traffic(
    dram: Moved, sram: Moved, extra: Mapping[str, float] | None = None
) -> dict[str, dict[str, float]]:
    return {"dram": {**dram._asdict(), **(extra or {})}, "sram": sram._asdict()}


@functools.cache
def _square_micrometres_of_a_place() -> float:
    """Return the area of the reference in 45 nm: as synthesized, scaled by its multiplier."""
    return reference_area() * area.MULTIPLIER_45NM_UM2 / area.multiplier(8, 8).value
