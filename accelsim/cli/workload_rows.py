"""The rows of ``accelsim workloads list`` and ``show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from torch import Tensor

from accelsim.arithmetic.rounding import alpha, quantize
from accelsim.errors import DataError
from accelsim.report.formats import Format
from accelsim.report.tables import render
from workloads import Gemm

BITS = (2, 3, 4, 5, 8)
"""Digit widths for which `show` counts the entries that do not fit."""

Row: TypeAlias = dict[str, Any]


def shape_row(gemm: Gemm) -> Row:
    """Return the name, the kind and the sizes of a GEMM."""
    names = ("workload", "op", "phase", "layer", "batch", "n", "d", "h", "macs")
    return {"gemm": gemm.name, **{name: getattr(gemm, name) for name in names}}


def operand_rows(gemm: Gemm, percentile: float, beta: float, failures: list[str]) -> Iterator[Row]:
    """Yield a row for A and one for B; what cannot be quantized adds to `failures`."""
    for operand, values in zip("ab", gemm.load(), strict=True):
        try:
            ratio, shares = _statistics(values, percentile, beta, gemm.where(operand))
        except DataError as error:
            failures.append(str(error))
            ratio, shares = None, dict.fromkeys(BITS)
        yield {
            "workload": gemm.workload,
            "gemm": gemm.name,
            "operand": operand,
            "percentile": percentile,
            "beta": beta,
            "alpha_ratio": ratio,
            **{f"out_of_bound_b{bits}": share for bits, share in shares.items()},
        }


def _statistics(
    values: Tensor, percentile: float, beta: float, name: str
) -> tuple[float | None, dict[int, float | None]]:
    """Return α_100/α_p and the share of out-of-bound integers for each b; None where empty."""
    magnitudes = quantize(values, percentile, beta, name=name).values.abs()
    if not values.numel():
        return None, dict.fromkeys(BITS)
    flat = values.float().flatten()
    center = float(alpha(flat, percentile))
    ratio = float(alpha(flat, 100)) / center if center else None
    counts = {bits: int((magnitudes >= 2 ** (bits - 1)).sum()) for bits in BITS}
    return ratio, {bits: count / values.numel() for bits, count in counts.items()}


def tables(gemms: Sequence[Gemm], operands: Sequence[Row], percentile: float, style: Format) -> str:
    """Return the shapes, and below them the operands for each β, narrow enough for 80 columns."""
    columns = ["gemm", "op", "phase", "layer", "batch", "n", "d", "h"]
    parts = [render([shape_row(gemm) for gemm in gemms], columns, style)]
    for beta, rows in groupby(operands, lambda row: row["beta"]):
        title = (
            f"Out of bound, |v| >= 2^(b-1), in % (percentile {percentile:g}, beta {beta:g}); "
            "a balanced digit holds -2^(b-1) too"
        )
        shares = [
            {
                "gemm": row["gemm"],
                "operand": row["operand"].upper(),
                f"α_100/α_{percentile:g}": row["alpha_ratio"],
                **{f"b={bits}": _percent(row[f"out_of_bound_b{bits}"]) for bits in BITS},
            }
            for row in rows
        ]
        parts.append(render(shares, format=style, title=title))
    return "\n".join(parts)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
