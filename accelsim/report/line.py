"""One line of a table of results: one backend on one GEMM, or on several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from accelsim.arithmetic.totals import total
from accelsim.measure.ratios import TimeRatio, time_ratio
from accelsim.measure.statistics import FEWEST, median_interval, sum_interval
from accelsim.records import Record, Status
from accelsim.records.fields import summed
from accelsim.records.record import Stage


@dataclass(frozen=True)
class Line:
    """A record, or the records of several GEMMs with their counts and times summed.

    A value that one of the records lacks is None.

    Parameters
    ----------
    records : sequence of Record
        At least one.
    summed : bool
        Whether the line stands for all GEMMs of a setting, even if there is just one.
    """

    records: Sequence[Record]
    summed: bool = False

    @property
    def exact(self) -> int:
        """How many of the records are exact."""
        return sum(record.status is Status.OK for record in self.records)

    @property
    def verified(self) -> str | None:
        """How many products are exact of those that were to be made; None if all were counted."""
        made = [record for record in self.records if record.status is not Status.COUNTED]
        return f"{self.exact}/{len(made)}" if made else None

    @property
    def low_bit_macs(self) -> int | None:
        """Low-bit multiply-adds."""
        macs = summed(self.records, "low_bit_macs")
        return None if macs is None else int(macs)

    @property
    def ratio(self) -> float | None:
        """The unpack ratio: low-bit multiplications over those of the GEMMs."""
        dense = summed(self.records, "dense_macs")
        return None if self.low_bit_macs is None or not dense else self.low_bit_macs / dense

    def time(self, stage: Stage) -> float | None:
        """Return the median time of a stage in ms."""
        times = (record.time_ms.get(stage) for record in self.records)
        return total(None if time is None else time.median for time in times)

    def baseline_time(self, name: str) -> float | None:
        """Return the median time of a baseline in ms."""
        return total(record.baselines.get(name) for record in self.records)

    def error(self) -> float | None:
        """Return half the 95% interval of the total, in percent of it.

        None where a record has fewer than `accelsim.measure.statistics.FEWEST` repeats.
        """
        samples = [record.samples_ms.get("total", []) for record in self.records]
        if min(map(len, samples)) < FEWEST:
            return None
        interval = sum_interval([median_interval(repeats) for repeats in samples])
        if not interval.value:
            return None
        return 50 * (interval.high - interval.low) / interval.value

    def speedup(self, baseline: str) -> TimeRatio | None:
        """Return the baseline's time over the total, and how far it can be trusted."""
        if any(r.baselines.get(baseline) is None or "total" not in r.time_ms for r in self.records):
            return None
        loads = [record.timing.load_per_core for record in self.records if record.timing]
        return time_ratio(
            [
                record.samples_ms.get("total") or [record.time_ms["total"].median]
                for record in self.records
            ],
            [
                record.baseline_samples_ms.get(baseline) or [record.baselines[baseline]]
                for record in self.records
            ],
            median(loads) if loads else None,
        )
