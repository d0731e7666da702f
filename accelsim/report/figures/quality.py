"""The figure of ``accelsim eval``: quality against β, and where floats are (parity)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.records.experiments import EvalRecord
from accelsim.report.figures.figure import Figure, NothingToDrawError
from accelsim.report.figures.sheet import legend, panels, plain_ticks, trace

VISIBLE = 20
"""Largest perplexity in the figure, as a multiple of that of the model in floats."""

_OPERATIONS = 3
"""Kinds of GEMM: linear layers and both attention products."""


def quality(records: Sequence[EvalRecord], width: float) -> Figure:
    """Draw the metric against β, with a line for each percentile and one for floats.

    Only treatments of every GEMM with one β and one percentile are points.

    Raises
    ------
    NothingToDrawError
        If there is no such treatment.
    """
    plain = [r for r in records if r.value is not None and _is_plain(r.treatment)]
    if not plain:
        raise NothingToDrawError("no treatment of all GEMMs by integers")
    floats = [r.value for r in records if r.treatment["method"] == "float" and r.value is not None]
    metric = plain[0].metric
    lines: dict[str, list[tuple[float, float]]] = {}
    for record in plain:
        point = (float(record.treatment["beta"]), float(record.value or 0))  # type: ignore[arg-type]
        lines.setdefault(_scales(record.treatment), []).append(point)
    canvas, (axes,) = panels(width, 1, height=3.4)
    plain_ticks(axes.xaxis, base=2)
    if metric == "perplexity":
        plain_ticks(axes.yaxis)
    for index, (name, points) in enumerate(lines.items()):
        ordered = sorted(points)
        trace(axes, [x for x, _ in ordered], [y for _, y in ordered], index, name)
    ink = axes.xaxis.label.get_color()
    for value in floats[:1]:
        axes.axhline(value, color=ink, linestyle="--", linewidth=1.2, label="float (parity)")
    beyond = 0
    if metric == "perplexity":
        values = [value for points in lines.values() for _, value in points]
        top = min(1.2 * max(values), VISIBLE * floats[0]) if floats else 1.2 * max(values)
        beyond = sum(value > top for value in values)
        axes.set_ylim(0.9 * min([*floats, *values]), top)
        axes.yaxis.set_major_locator(_few_ticks())
    betas = sorted({beta for points in lines.values() for beta, _ in points})
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.set(xlabel="β", ylabel=metric)
    legend(canvas)
    best = max(plain, key=lambda record: float(record.treatment["beta"]))  # type: ignore[arg-type]
    left = f" Not shown, as above the figure: {beyond} of the points." if beyond else ""
    others = len([r for r in records if r.treatment["method"] != "float"]) - len(plain)
    if others:
        left += f" {others} treatments that are not one β for all GEMMs are in the table alone."
    return Figure(
        "quality",
        f"{metric.capitalize()} against β",
        f"The {metric} of {len(plain)} treatments over {len(betas)} values of β"
        + (f"; floats give {floats[0]:.4g}" if floats else "")
        + f", and β = {best.treatment['beta']} gives {best.value:.4g}.",
        "Each point is the model with all its GEMMs in integers, rounded with this β. The dashed "
        f"line is the same model in floating point.{left}",
        canvas,
    )


def _few_ticks() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 1.5, 2, 3, 5))


def _is_plain(treatment: Mapping[str, Any]) -> bool:
    """Whether it treats every GEMM with one β and one percentile."""
    whole = treatment.get("gemms") == ["*"] and not treatment.get("skip")
    one = all(isinstance(treatment.get(key), int | float) for key in ("beta", "percentile"))
    every = len(treatment.get("ops", ())) == _OPERATIONS
    uniform = whole and one and every and "plan" not in treatment
    return uniform and treatment["method"] == "integers"


def _scales(treatment: Mapping[str, Any]) -> str:
    rows = treatment.get("granularity") == "row"
    return f"p = {treatment['percentile']:g}" + (", scales per row" if rows else "")
