"""The tables of ``accelsim eval`` and ``accelsim train``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from accelsim.records.experiments import EvalRecord, TrainRecord


def quality_rows(records: Sequence[EvalRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table: quality beside the model in floating point."""
    floats = [r.value for r in records if r.treatment["method"] == "float" and r.value]
    rows = []
    for record in records:
        row: dict[str, Any] = {"treatment": record.label, record.metric: record.value}
        if floats and record.metric == "perplexity":
            beyond = None if record.value is None else record.value / floats[0] - 1
            row["% above float"] = None if beyond is None else 100 * beyond
        row["seconds"] = record.seconds
        row["integer GEMMs"] = record.tally.get("gemms")
        row["checked"], row["inexact"] = (record.tally.get(k) for k in ("checked", "inexact"))
        row["r"] = record.tally.get("ratio")
        row["bits"] = _bits(record)
        row["low-bit multiplications"] = _low_bit(record)
        row["weights, MB"] = _megabytes(record.storage.get("weight_bytes"))
        row["% in integers"] = _percent(record.tally.get("coverage"))
        row["Huffman bits"] = record.storage.get("huffman_bits_per_parameter")
        row["entropy, bits"] = record.storage.get("entropy_bits_per_parameter")
        rows.append(row)
    empty = {key for key in rows[0] if all(row.get(key) in (None, 0) for row in rows)} - {
        "treatment"
    }
    if all(not row["checked"] for row in rows):
        empty |= {"checked", "inexact"}
    else:
        empty -= {"inexact"}
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


def _bits(record: EvalRecord) -> str | None:
    """Return the width of what multiplies, where it is known."""
    treatment, found = record.treatment, record.treatment.get("bits")
    if treatment["method"] == "torchao":
        return str(treatment["scheme"]).partition("-")[0]
    if isinstance(found, dict):
        return f"{found['a']} × {found['b']}"
    return None if found is None or "plan" in treatment else str(found)


def _low_bit(record: EvalRecord) -> Any:
    """Return the products of entries of b bits; where all fit, as many as the model's own."""
    counted = record.tally.get("low_bit_macs")
    if record.treatment["method"] == "absmax" and not counted:
        return record.tally.get("dense_macs")
    return counted


def _megabytes(count: Any) -> float | None:
    return None if count is None else float(count) / 1e6


def training_rows(records: Sequence[TrainRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table: the final metric and its gap to floats, over the seeds."""
    floats = {r.seed: r.final for r in records if r.treatment["method"] == "float"}
    bf16 = [
        r.seconds_per_step
        for r in records
        if r.treatment["method"] == "bf16" and r.seconds_per_step is not None
    ]
    widths = list(dict.fromkeys(str(p.get("bits")) for r in records for p in r.probes))
    rows = []
    groups: dict[str, list[TrainRecord]] = {}
    for record in records:
        groups.setdefault(json.dumps(record.treatment, sort_keys=True), []).append(record)
    for own in groups.values():
        finals = [record.final for record in own if record.final is not None]
        pairs = [(record.final, floats.get(record.seed)) for record in own]
        gaps = [final - base for final, base in pairs if final is not None and base is not None]
        row: dict[str, Any] = {
            "treatment": own[0].label,
            "seeds": len(own),
            own[0].metric: _mean(finals),
            "± (std)": _deviation(finals),
            "minus float": _mean(gaps),
            "± (std of the differences)": _deviation(gaps),
        }
        row |= {name: _mean(found) for name, found in _ratios(own, widths).items()}
        shares = [c for r in own if (c := r.tally.get("coverage")) is not None]
        row["% in integers"] = _percent(_mean(shares))
        row["seconds"] = sum(record.seconds for record in own)
        each = [x for record in own if (x := record.seconds_per_step) is not None]
        row["ms a step"] = 1e3 * fmean(each) if each else None
        row["× bf16"] = fmean(each) / fmean(bf16) if each and bf16 else None
        row["failed"] = sum(record.failed for record in own)
        rows.append(row)
    empty = {key for key in ("ms a step", "× bf16") if all(row[key] is None for row in rows)}
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


def _ratios(records: Sequence[TrainRecord], widths: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the unpack ratios of the first and of the last probed step by column."""
    found: dict[str, list[Any]] = {}
    for bits in widths:
        at = f" at b = {bits}" if len(widths) > 1 else ""
        runs = [[p for p in record.probes if str(p.get("bits")) == bits] for record in records]
        for name in ("forward", "backward"):
            for end, index in (("first", 0), ("last", -1)):
                ratios = [run[index][f"{name}_ratio"] for run in runs if run]
                found[f"r {name}{at}, {end}"] = [r for r in ratios if r is not None]
    return found


def _percent(share: Any) -> float | None:
    return None if share is None else 100 * float(share)


def _mean(values: list[Any]) -> float | None:
    return float(fmean(values)) if values else None


def _deviation(values: list[Any]) -> float | None:
    return float(stdev(values)) if len(values) > 1 else None
