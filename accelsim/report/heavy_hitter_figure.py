"""The figure of ``accelsim workloads stats``: how heavy each layer's heavy hitters are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.extras import need
from accelsim.heavy_hitters import OperandStatistics, rows_of


def draw(statistics: Sequence[OperandStatistics], path: Path) -> None:
    """Draw the ratio α_100/α_p along the layers, and the out-of-bound share by b.

    Parameters
    ----------
    statistics : sequence of OperandStatistics
        In the order of the layers.
    path : Path
        The picture to write; its suffix (.svg, .png, .pdf) says in which format.

    Raises
    ------
    InputError
        If seaborn is missing, or the file cannot be written.
    """
    seaborn, pandas = need("seaborn", "report"), need("pandas", "report")
    need("matplotlib", "report").use("Agg")
    table = pandas.DataFrame(rows_of(statistics))
    table["kind"] = table.op + " " + table.phase + ", " + table.operand.str.upper()
    first = table[(table.beta == table.beta.iloc[0]) & (table.bits == table.bits.iloc[0])].copy()
    first["layer"] = first.groupby("kind").cumcount()
    seaborn.set_theme(style="whitegrid")
    figure = need("matplotlib.figure", "report").Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    percentile = table.percentile.iloc[0]
    colours: dict[str, Any] = {"hue": "kind", "style": "kind", "palette": "husl"}
    seaborn.lineplot(first, x="layer", y="alpha_ratio", ax=left, legend=False, **colours)
    left.set(yscale="log", xlabel="GEMM of this kind, in order", ylabel=f"α₁₀₀ / α_{percentile:g}")
    shown = table[(table.out_of_bound > 0) & (table.beta == table.beta.max())]
    seaborn.lineplot(shown, x="bits", y="out_of_bound", errorbar=None, ax=right, **colours)
    right.set(
        yscale="log",
        xlabel="b, bits of a digit",
        ylabel=f"share of entries with |v| ≥ 2^(b−1), β = {table.beta.max():g}",
    )
    right.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from error
