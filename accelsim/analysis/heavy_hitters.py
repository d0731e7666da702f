"""How heavy the heavy hitters of operands are, how many do not fit b bits, and where they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import alpha, quantize
from workloads.gemm import Gemm

TOP = 100
"""The heaviest 1/TOP of the lines (at least one) are reported."""


@dataclass(frozen=True)
class OperandStatistics:
    """One operand rounded with one β, against digits of b bits.

    Parameters
    ----------
    workload, gemm, op, layer, phase, operand : str
        Which operand; `operand` is ``a`` or ``b``.
    entries : int
        How many entries it has.
    percentile, beta, bits : float, float, int
        The setting.
    alpha : float
        α_p, the p-th percentile of the magnitudes.
    alpha_ratio : float or None
        α_100/α_p; None where it has no entries or α_p is 0.
    kurtosis : float or None
        Fourth over squared second central moment; 3 for normal values. None for a constant.
    zeros : float
        Share of entries that are 0.
    out_of_bound : float
        Share of integers with ``|v| >= 2^(b-1)``.
    in_rows, in_columns : float or None
        Share of those in the 1% of rows (of columns) that hold most of them; 0.01 would be an even
        spread. None where there are none.
    """

    workload: str
    gemm: str
    op: str
    layer: str
    phase: str
    operand: str
    entries: int
    percentile: float
    beta: float
    bits: int
    alpha: float
    alpha_ratio: float | None
    kurtosis: float | None
    zeros: float
    out_of_bound: float
    in_rows: float | None
    in_columns: float | None


def survey(
    gemms: Iterable[Gemm], percentile: float, betas: Sequence[float], bits: Sequence[int]
) -> Iterator[OperandStatistics]:
    """Yield the statistics of both operands of every GEMM, for every β and b.

    One GEMM is in memory at a time. α_p that is 0 is taken over the non-zero entries.

    Raises
    ------
    DataError
        If an operand holds NaN or infinity.
    """
    for gemm in gemms:
        operands = gemm.load()
        for side, values in zip("ab", operands, strict=True):
            about = _about(values, percentile)
            place = (gemm.workload, gemm.name, gemm.op, gemm.layer, gemm.phase, side)
            for beta in betas:
                integers = quantize(
                    values, percentile, beta, zero_alpha="nonzero", name=gemm.where(side)
                )
                magnitudes = integers.values.abs()
                for width in bits:
                    outside = magnitudes >= 2 ** (width - 1)
                    count = int(outside.sum())
                    yield OperandStatistics(
                        *place,
                        entries=values.numel(),
                        percentile=percentile,
                        beta=beta,
                        bits=width,
                        **about,
                        out_of_bound=count / max(1, values.numel()),
                        in_rows=_held(outside.sum(-1), count),
                        in_columns=_held(outside.sum(-2), count),
                    )


def _about(values: Tensor, percentile: float) -> dict[str, Any]:
    flat = values.float().flatten()
    if not flat.numel():
        return {"alpha": 0.0, "alpha_ratio": None, "kurtosis": None, "zeros": 0.0}
    center, largest = float(alpha(flat, percentile)), float(alpha(flat, 100))
    centered = flat.double() - flat.double().mean()
    variance = float(centered.square().mean())
    fourth = float(centered.square().square().mean())
    return {
        "alpha": center,
        "alpha_ratio": largest / center if center else None,
        "kurtosis": fourth / variance**2 if variance else None,
        "zeros": float((flat == 0).float().mean()),
    }


def _held(by_line: Tensor, count: int) -> float | None:
    """Return the share of `count` entries in the 1% of lines that hold most."""
    if not count:
        return None
    lines = by_line.flatten()
    top = torch.topk(lines, max(1, len(lines) // TOP)).values
    return int(top.sum()) / count


def totals(statistics: Iterable[OperandStatistics]) -> list[dict[str, Any]]:
    """Sum statistics up over the layers: one row for every op, phase, operand, β and b.

    `gemms` counts them; `alpha_ratio` and `kurtosis` are medians, `alpha_ratio_max` is the largest;
    shares are means over the entries, and over the out-of-bound entries for `in_rows` and
    `in_columns`.
    """
    groups: dict[tuple[Any, ...], list[OperandStatistics]] = defaultdict(list)
    for one in statistics:
        groups[one.op, one.phase, one.operand, one.beta, one.bits].append(one)
    return [
        dict(zip(("op", "phase", "operand", "beta", "bits"), key, strict=True)) | _sum(members)
        for key, members in groups.items()
    ]


def _sum(members: Sequence[OperandStatistics]) -> dict[str, Any]:
    entries = [one.entries for one in members]
    outside = [one.entries * one.out_of_bound for one in members]
    ratios = [one.alpha_ratio for one in members if one.alpha_ratio is not None]
    return {
        "gemms": len(members),
        "alpha_ratio": _median(one.alpha_ratio for one in members),
        "alpha_ratio_max": max(ratios, default=None),
        "kurtosis": _median(one.kurtosis for one in members),
        "zeros": _mean([one.zeros for one in members], entries),
        "out_of_bound": _mean([one.out_of_bound for one in members], entries),
        "in_rows": _mean([one.in_rows for one in members], outside),
        "in_columns": _mean([one.in_columns for one in members], outside),
    }


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return median(present) if present else None


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else None


def rows_of(statistics: Iterable[OperandStatistics]) -> list[dict[str, Any]]:
    """Return statistics as mappings, as JSON has them."""
    return [asdict(one) for one in statistics]
