"""Designs: a modelled accelerator with one way of unpacking, on all GEMMs of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from accelsim.arithmetic.totals import total
from accelsim.records import Record, Status
from accelsim.records.fields import FIELDS, summed
from accelsim.records.keyed import canonical_json
from accelsim.report.option_names import ACCELERATOR
from accelsim.report.settings import ASKED, SWEPT, Settings, describe_parts
from accelsim.report.summary_rows import Labels

SETTING_TITLES = {FIELDS[name].title for name in SWEPT}
"""The parts of a design's name that are settings, not the accelerator."""


@dataclass(frozen=True)
class Design:
    """One accelerator with one way of unpacking, on all GEMMs of a run.

    Sums are None where a record lacks the value. Designs have clocks of their own: what compares
    them takes seconds, and cycles only where no model of those compared has a clock.

    Parameters
    ----------
    asked : str
        The rounding, which decides what has to be multiplied, and whether memory and a clock are
        modelled; only designs of which this is equal are compared.
    label : str
        The settings that tell designs apart, and the backend.
    records : sequence of Record
        One for each GEMM.
    parts : mapping
        What tells designs apart, by its title: settings, the backend, and its options.
    """

    asked: str
    label: str
    records: Sequence[Record]
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What tells it apart but for settings such as b; empty where the run has one kind."""
        parts = {name: value for name, value in self.parts.items() if name not in SETTING_TITLES}
        return ", ".join(
            value if name in (ACCELERATOR, "backend") else f"{name}={value}"
            for name, value in parts.items()
        )

    @property
    def is_modelled(self) -> bool:
        """Whether the cycles of a GEMM are known."""
        return any(record.cycles is not None for record in self.records)

    @property
    def exact(self) -> int:
        """How many products are exact."""
        return sum(record.status is Status.OK for record in self.records)

    @property
    def sound(self) -> bool:
        """Whether every product is exact or was only counted."""
        return all(record.status in (Status.OK, Status.COUNTED) for record in self.records)

    @property
    def stall_share(self) -> float | None:
        """Share of the cycles in which the array waits for memory."""
        stalls = summed(self.records, "stall_cycles")
        return stalls / self.cycles if stalls is not None and self.cycles else None

    @property
    def ratio(self) -> float | None:
        """The unpack ratio: low-bit multiplications over those of the GEMMs."""
        dense = summed(self.records, "dense_macs")
        return None if self.low_bit_macs is None or not dense else self.low_bit_macs / dense

    @property
    def bound_by_dram(self) -> tuple[int, int] | None:
        """How many GEMMs DRAM bounds, of how many; None where nothing moves from DRAM."""
        bounds = [record.roofline.bound for record in self.records if record.roofline]
        return (bounds.count("dram"), len(bounds)) if bounds else None

    @property
    def attained(self) -> float | None:
        """Low-bit multiply-adds per cycle; None where nothing moves from DRAM."""
        if self.low_bit_macs is None or not self.cycles or self.bound_by_dram is None:
            return None
        return self.low_bit_macs / self.cycles

    @property
    def attainable(self) -> float | None:
        """Low-bit multiply-adds per cycle if every GEMM ran at its roofline."""
        least = total(
            None
            if record.roofline is None or record.low_bit_macs is None
            else record.low_bit_macs / record.roofline.attainable
            for record in self.records
        )
        return None if self.low_bit_macs is None or not least else self.low_bit_macs / least

    @property
    def peak(self) -> float | None:
        """Low-bit multiply-adds per cycle of an array that never waits."""
        used = self.utilization
        return None if self.attained is None or not used else self.attained / used

    @property
    def seconds(self) -> float | None:
        """Time at the accelerator's clock."""
        return summed(self.records, "seconds")

    @property
    def dram_bytes(self) -> float | None:
        """Bytes from and to DRAM."""
        return total(
            sum(record.traffic["dram"].values()) if "dram" in record.traffic else None
            for record in self.records
        )

    @property
    def area_mm2(self) -> float | None:
        """Area in square millimetres, in the node that the model names."""
        return self.records[0].area_mm2

    @property
    def energy_delay(self) -> float | None:
        """Energy times seconds."""
        energy, seconds = self.energy, self.seconds
        return None if energy is None or seconds is None else energy * seconds

    def energy_of(self, *parts: str) -> float | None:
        """Return the joules of some components; None unless every GEMM has one of them."""
        return total(
            sum(known) if (known := [r.energy_by[p] for p in parts if p in r.energy_by]) else None
            for r in self.records
        )

    @property
    def low_bit_macs(self) -> float | None:
        """Low-bit multiply-adds."""
        return summed(self.records, "low_bit_macs")

    @property
    def shift_adds(self) -> float | None:
        """Additions of shifted products."""
        return summed(self.records, "shift_adds")

    @property
    def cycles(self) -> float | None:
        """Clock cycles, shift-adds included where they are modelled."""
        return summed(self.records, "cycles")

    @property
    def utilization(self) -> float | None:
        """Share of the multipliers' cycles in which they had a low-bit multiplication to do."""
        busy = total(
            None if r.utilization is None or r.cycles is None else r.utilization * r.cycles
            for r in self.records
        )
        return busy / self.cycles if busy is not None and self.cycles else None

    @property
    def relative_area(self) -> float | None:
        """Area of the accelerator over that of its reference."""
        return self.records[0].relative_area

    @property
    def area_time(self) -> float | None:
        """Relative area times seconds, or times cycles where the model has no clock."""
        area, seconds = self.relative_area, self.seconds
        if area is None or seconds is None:
            return summed(self.records, "area_time")
        return area * seconds

    @property
    def energy(self) -> float | None:
        """Energy in joules."""
        return summed(self.records, "energy")


def designs(records: Sequence[Record], labels: Labels | None = None) -> list[Design]:
    """Return the designs of a run whose cycles are modelled for at least one GEMM."""
    if all(record.cycles is None for record in records):
        return []
    return [design for design in all_designs(records, labels) if design.is_modelled]


def unfinished(found: Sequence[Design]) -> list[Design]:
    """Return the designs of modelled accelerators that failed on every GEMM, so without figures."""
    modelled = {design.records[0].backend for design in found if design.is_modelled}
    return [
        design
        for design in found
        if not design.is_modelled
        and design.records[0].backend in modelled
        and all(record.status.failed for record in design.records)
    ]


def all_designs(records: Sequence[Record], labels: Labels | None = None) -> list[Design]:
    """Return every backend with every setting, modelled or not.

    Models with a memory and models without one are kept apart, because they cannot be compared,
    and so are those with a clock and those without.

    Parameters
    ----------
    records : sequence of Record
        Those of one run.
    labels : Labels, optional
        Of the same records, if they are known already.
    """
    settings, labels = Settings(records), labels or Labels(records)
    mixed = len({_scope(r) for r in records if r.cycles is not None}) > 1
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    several = len({record.backend for record in records}) > 1
    varying = [
        name for name in SWEPT if name == "bits" or (name not in ASKED and settings.varies(name))
    ]
    for record in records:
        asked = ", ".join([*settings.sweep(record, ASKED), *(_scope(record) if mixed else ())])
        swept = settings.sweep(record, [field for field in SWEPT if field not in ASKED])
        options = canonical_json(record.backend_options)
        groups[asked, ", ".join([*swept, labels.backend(record)]), options].append(record)
    return [
        Design(
            asked,
            label,
            members,
            {
                **describe_parts(members[0], varying),
                **({"backend": members[0].backend} if several else {}),
                **labels.options(members[0]),
            },
        )
        for (asked, label, _), members in groups.items()
    ]


def _scope(record: Record) -> tuple[str, ...]:
    """Say what a model covers, where it decides what it can be compared with."""
    if record.cycles is None:
        return ()
    if not record.traffic:
        return ("without memory",)
    return ("with memory",) if record.seconds is not None else ("with memory, without a clock",)


def cheapest(found: Sequence[Design]) -> Design | None:
    """Return the design with the least area x time of those without a wrong product.

    If nothing was multiplied, as requested, no product is wrong.
    """
    sound = [d for d in found if d.sound and d.area_time is not None]
    return min(sound, key=lambda design: design.area_time or 0, default=None)
