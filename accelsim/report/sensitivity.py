"""The table of ``accelsim sensitivity``, and how well local errors tell the loss."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from scipy.stats import pearsonr, spearmanr

from accelsim.records.tuning import SensitivityRecord

_LAYER = re.compile(r"^(?:.*?\.)?(\d+)\.(.*)$")


class Spot(NamedTuple):
    """Where a GEMM is: the number of its layer, None outside of layers, and its name there."""

    layer: int | None
    name: str


def spot(gemm: str) -> Spot:
    """Split a place into the number of its layer and its name in the layer.

    Parameters
    ----------
    gemm : str
        Such as ``model.layers.3.mlp.down_proj``.
    """
    found = _LAYER.match(gemm)
    return Spot(int(found[1]), found[2]) if found else Spot(None, gemm)


def harm_name(records: Sequence[SensitivityRecord]) -> str:
    """Say what the `divergence` of records is: in training, where there are gradients, an error.

    Parameters
    ----------
    records : sequence of SensitivityRecord
        Of one run.
    """
    trains = any(record.kind == "gradients" for record in records)
    return "squared gradient error" if trains else "divergence"


def sensitivity_rows(records: Sequence[SensitivityRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table: for each name in a layer, kind and β, sums over the layers."""
    groups: dict[tuple[str, str, float], list[SensitivityRecord]] = {}
    for record in records:
        groups.setdefault((spot(record.gemm).name, record.kind, record.beta), []).append(record)
    rows, harm = [], harm_name(records)
    for (name, kind, beta), own in groups.items():
        worst = max(own, key=lambda record: record.divergence)
        row: dict[str, Any] = {
            "GEMM": name,
            "kind": kind,
            "β": int(beta) if beta.is_integer() else beta,
            "places": len(own),
            f"{harm}, sum": sum(record.divergence for record in own),
            "worst": worst.divergence,
            "worst place": worst.gemm,
            "local error": sum(record.local_error for record in own) / len(own),
        }
        macs = sum(record.macs for record in own)
        for bits in own[0].ratio:
            row[f"r, {bits} bits"] = sum(r.ratio[bits] * r.macs for r in own) / max(1, macs)
            row[f"out of bound, {bits} bits"] = sum(r.out_of_bound[bits] for r in own) / len(own)
        rows.append(row)
    return rows


class Correlation(NamedTuple):
    """How local errors and divergences go together.

    Parameters
    ----------
    points : int
        Records with both above 0.
    spearman : float
        The correlation of their ranks.
    pearson : float
        The correlation of their logarithms.
    slope : float
        Of the logarithm of the divergence over that of the local error; 2 if the divergence grows
        as the square of the error.
    """

    points: int
    spearman: float
    pearson: float
    slope: float


def correlation(records: Sequence[SensitivityRecord]) -> Correlation | None:
    """Return the correlation of local errors with divergences; None for fewer than three."""
    import numpy as np

    pairs = [(r.local_error, r.divergence) for r in records if r.local_error and r.divergence > 0]
    if len(pairs) < 3:
        return None
    x, y = np.log(np.array(pairs)).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    slope = float(np.polyfit(x, y, 1)[0])
    return Correlation(len(x), float(spearmanr(x, y)[0]), float(pearsonr(x, y)[0]), slope)


def correlation_line(records: Sequence[SensitivityRecord]) -> str:
    """Say how well local errors tell the loss, over all places and for each β."""
    found = correlation(records)
    if found is None:
        return "too few records to correlate local errors with the loss"
    parts = [
        f"{each.spearman:.2f} at β = {beta:g}"
        for beta in dict.fromkeys(record.beta for record in records)
        if (each := correlation([r for r in records if r.beta == beta])) is not None
    ]
    return (
        f"local error and {harm_name(records)} of {found.points} records: rank correlation "
        f"{found.spearman:.2f} ({', '.join(parts)}), of the logarithms {found.pearson:.2f} with "
        f"slope {found.slope:.2f}"
    )
