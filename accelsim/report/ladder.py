"""The table of ``accelsim ladder``: errors of GEMMs against r and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelsim.analysis.ladder import Rung, middle
from accelsim.records.ladder import LadderRecord


def rungs_of(records: Sequence[LadderRecord]) -> list[Rung]:
    """Return the medians over GEMMs of each way and β, in the order of the records."""
    groups: dict[tuple[str, float | None], list[Rung]] = {}
    for record in records:
        rung = Rung(record.way, record.beta, record.relative_error, record.ratio, record.seconds)
        groups.setdefault((record.way, record.beta), []).append(rung)
    return [middle(own) for own in groups.values()]


def ladder_rows(records: Sequence[LadderRecord]) -> list[dict[str, Any]]:
    """Return a row for each way and β, with the medians over the GEMMs."""
    gemms = len({(record.workload, record.gemm) for record in records})
    of = "" if gemms == 1 else f", median of {gemms} GEMMs"
    return [
        {
            "way": rung.way,
            "β": int(beta) if (beta := rung.beta) is not None and beta.is_integer() else beta,
            f"relative error{of}": rung.error,
            "r": rung.ratio,
            "ms": None if rung.seconds is None else 1e3 * rung.seconds,
        }
        for rung in rungs_of(records)
    ]
