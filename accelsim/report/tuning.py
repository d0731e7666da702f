"""The table of ``accelsim tune``: plans with what they keep and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from accelsim.records.tuning import ACCURACY, COSINE, LOSS, PERPLEXITY, TuneRecord


def tuning_rows(records: Sequence[TuneRecord]) -> list[dict[str, Any]]:
    """Return a row for each plan that was verified."""
    rows = []
    for record in records:
        row: dict[str, Any] = {"plan": record.label}
        row |= _quality(record)
        row["meets"] = record.meets
        row["bits"] = _bits(record)
        row["r"] = record.ratio
        row["low-bit multiplications"] = record.low_bit_macs
        row[f"cost, {record.cost_unit}"] = record.cost
        row["cycles"], row["energy, J"] = record.cycles, record.energy
        row["seconds"] = record.seconds
        rows.append(row)
    empty = {key for key in rows[0] if all(row[key] is None for row in rows)}
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


def front(records: Sequence[TuneRecord]) -> list[TuneRecord]:
    """Return the plans that no other beats in both harm and low-bit multiplications' cost."""
    return [
        record
        for record in records
        if not any(
            other.cost <= record.cost
            and other.harm <= record.harm
            and (other.cost, other.harm) != (record.cost, record.harm)
            for other in records
        )
    ]


def saved(best: TuneRecord, uniform: TuneRecord, accelerator: str) -> str:
    """Say what a plan saves beside one of one β for all.

    Parameters
    ----------
    best, uniform : TuneRecord
        Both keep the target.
    accelerator : str
        The one whose cycles and energy were modelled.
    """
    pairs: dict[str, tuple[float | None, float | None]] = {
        best.cost_unit: (best.cost, uniform.cost),
        "cycles": (best.cycles, uniform.cycles),
        "energy": (best.energy, uniform.energy),
    }
    found = [
        f"{own / other - 1:+.1%} {what}" for what, (own, other) in pairs.items() if own and other
    ]
    return f"beside {uniform.label}: {', '.join(found)} (cycles and energy: {accelerator})"


def harm_in_percent(record: TuneRecord) -> float:
    """Return the growth of a perplexity or a loss, or the accuracy that is lost."""
    return 100 * (math.expm1(record.harm) if record.metric == PERPLEXITY else record.harm)


def _quality(record: TuneRecord) -> dict[str, float | None]:
    predicted = record.predicted
    if record.metric == COSINE:
        found = {"cosine": 1 - record.harm}
        return {**found, "cosine predicted": None if predicted is None else 1 - predicted}
    if record.metric == ACCURACY:
        return {"accuracy lost, %": harm_in_percent(record)}
    if record.metric == LOSS:
        return {"% above float": harm_in_percent(record)}
    growth = None if predicted is None else 100 * math.expm1(predicted)
    return {"% above float": harm_in_percent(record), "% predicted": growth}


def _bits(record: TuneRecord) -> str:
    gemms: Any = record.plan["gemms"]
    found = sorted({settings["bits"] for settings in gemms.values() if "bits" in settings})
    return ", ".join(map(str, found))
