"""The figure of ``accelsim workloads stats``: how heavy each layer's heavy hitters are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelsim.analysis.heavy_hitters import OperandStatistics, rows_of
from accelsim.errors import InputError
from accelsim.plugins.extras import need

OPERANDS = {
    ("linear", "forward", "a"): "activations",
    ("linear", "forward", "b"): "weights",
    ("linear", "grad_input", "a"): "gradients of linear layers",
    ("qk", "forward", "a"): "Q",
    ("qk", "forward", "b"): "K",
    ("qk", "grad_input", "a"): "gradients of QK",
    ("pv", "forward", "a"): "P, attention probabilities",
    ("pv", "forward", "b"): "V",
    ("pv", "grad_input", "a"): "gradients of PV",
}
"""The operands that are not transposes of others."""


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
    kinds = list(zip(table.op, table.phase, table.operand, strict=True))
    table["kind"] = [
        OPERANDS.get(kind, f"{kind[0]} {kind[1]}, {kind[2].upper()}") for kind in kinds
    ]
    if any(kind in OPERANDS for kind in kinds):
        table = table[[kind in OPERANDS for kind in kinds]]
    first = table[(table.beta == table.beta.iloc[0]) & (table.bits == table.bits.iloc[0])].copy()
    of_kind = first.groupby("kind")
    first["depth"] = of_kind.cumcount() / of_kind.kind.transform("size").sub(1).clip(lower=1)
    seaborn.set_theme(style="whitegrid")
    figure = need("matplotlib.figure", "report").Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    percentile = table.percentile.iloc[0]
    colours: dict[str, Any] = {"hue": "kind", "style": "kind", "palette": "husl"}
    seaborn.lineplot(first, x="depth", y="alpha_ratio", ax=left, legend=False, **colours)
    left.set(
        yscale="log",
        xlabel="from the first GEMM of its kind to the last",
        ylabel=f"α_100 / α_{percentile:g}",
    )
    largest = table[table.beta == table.beta.max()]
    shown = largest.groupby(["kind", "bits"], sort=False).out_of_bound.mean().reset_index()
    shown = shown[shown.out_of_bound > 0]
    seaborn.lineplot(shown, x="bits", y="out_of_bound", errorbar=None, ax=right, **colours)
    right.set(
        xticks=sorted(set(table.bits)),
        yscale="log",
        xlabel="b, bits of a digit",
        ylabel=f"share of entries with |v| ≥ 2^(b−1), β = {table.beta.max():g}",
    )
    right.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from error
