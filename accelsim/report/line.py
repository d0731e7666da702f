"""One line of a table of results: one backend on one GEMM, or on several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.arithmetic.totals import total
from accelsim.records import Record, Status
from accelsim.records.fields import summed
from accelsim.records.record import Stage


@dataclass(frozen=True)
class Line:
    """A record, or several GEMMs' records of which counts and times are summed.

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

    def speedup(self, baseline: str) -> float | None:
        """Return the baseline's time over the total."""
        time = self.time("total")
        reference = total(record.baselines.get(baseline) for record in self.records)
        return reference / time if time and reference is not None else None
