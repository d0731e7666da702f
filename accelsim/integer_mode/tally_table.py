"""The counts of a model's integer GEMMs as a table to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

WHOLE_MODEL = "(model)"
"""What stands for GEMMs outside of every named module."""


def table(
    labels: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    total: Mapping[str, Any],
    layers: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Lay out the counts of GEMMs, one line each, one for all of a layer, and one for all.

    Parameters
    ----------
    labels : sequence of str
        The fields that name a row.
    rows : sequence of mapping
        These fields, and those of `accelsim.integer_mode.tally.Totals` with their ``ratio``.
    total : mapping
        The counts of all rows together.
    layers : mapping
        The counts of each layer together, by its name, if the rows are by layer; they are shown
        behind the rows of a layer that has several.

    Returns
    -------
    list of str
        The lines of the table, without low-bit multiplications if nothing was unpacked. There is
        no line for all together below a single row.
    """
    unpacked = total["ratio"] is not None
    heads = [*labels, "GEMMs", "MACs", *(["low-bit MACs", "r"] if unpacked else [])]
    lines = []
    for layer, group in groupby(rows, lambda row: row.get("layer")):
        of_layer = [[*(str(row[n]) or WHOLE_MODEL for n in labels), *_counts(row)] for row in group]
        lines += of_layer
        if layer is not None and len(of_layer) > 1:
            lines.append([layer or WHOLE_MODEL, "together", "", *_counts(layers[layer])])
    if len(rows) > 1:
        lines.append(["together", *[""] * (len(labels) - 1), *_counts(total)])
    cells = [heads, *(line[: len(heads)] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = len(labels)
    return ["  ".join(_aligned(line, widths, left)).rstrip() for line in cells]


def _counts(row: Mapping[str, Any]) -> list[str]:
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3f}"
    return [*(f"{row[name]:,}" for name in ("gemms", "dense_macs", "low_bit_macs")), ratio]


def _aligned(line: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    return [
        cell.ljust(width) if index < left else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def legend(
    by_place: Mapping[tuple[str, str, str], Mapping[str, Any]], total: Mapping[str, Any]
) -> list[str]:
    """Explain what stands in the table, one line for each thing that it has.

    Parameters
    ----------
    by_place : mapping
        ``(layer, op, phase)`` to the counts.
    total : mapping
        The counts of all together, with their ``ratio``.
    """
    lines = ["MACs: multiplications of the GEMMs"]
    if total["ratio"] is not None:
        part = "" if total["unpacked"] == total["gemms"] else " of those GEMMs that were unpacked"
        lines[0] += f"; low-bit MACs: those of their digits; r: low-bit MACs over MACs{part}"
    elif total["gemms"]:
        lines.append("no unpack ratio r: without a backend nothing is unpacked")
    ops = {op: None for _, op, _ in by_place}
    words = ["linear: products with weights, those of convolutions, too"] if "linear" in ops else []
    if attention := [op for op in ops if op != "linear"]:
        words.append(f"{', '.join(attention)}: attention's products")
    lines += ["; ".join(words)] if words else []
    forward = {key[:2]: n["gemms"] for key, n in by_place.items() if key[2] == "forward"}
    if max(forward.values(), default=0) > 1:
        lines.append("a layer has a GEMM for each product that it computes, in every step or call")
    if all(phase == "forward" for *_, phase in by_place):
        return lines
    lines.append(
        "grad_input, grad_weight: the gradients of the first and of the second operand; the second "
        "of a linear layer is its weights"
    )
    inputs = {key[:2]: n["gemms"] for key, n in by_place.items() if key[2] == "grad_input"}
    if any(inputs.get(place, 0) < count for place, count in forward.items()):
        lines.append(
            "grad_input has fewer GEMMs than forward where an input needs no gradient, such as the "
            "model's"
        )
    return lines
