"""Figures of both experiments; seaborn comes with an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import InputError
from accelsim.plugins.extras import need

if TYPE_CHECKING:
    from accelsim.parity.evaluation import EvalRecord
    from accelsim.parity.training import TrainRecord

SUFFIXES = (".svg", ".pdf", ".png")

VISIBLE = 20
"""Largest perplexity shown, as a multiple of that of the model in floats."""


def check_figure(path: Path) -> None:
    """Find out before the work whether a figure can be drawn.

    Raises
    ------
    InputError
        If the file's kind is unknown, its folder is missing, or seaborn is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"--figure {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"--figure {path}: there is no folder {path.parent}")
    need("seaborn", "report")


def draw_quality(records: Sequence[EvalRecord], path: Path) -> None:
    """Draw the quality against β, with a line for each percentile and one for floats (parity).

    A perplexity of more than `VISIBLE` times that in floats is cut off.
    """
    seaborn = need("seaborn", "report")
    points: list[dict[str, Any]] = [
        {
            "β": record.treatment["beta"],
            record.metric: record.value,
            "percentile": _scales(record.treatment),
        }
        for record in records
        if record.value is not None and _is_plain(record.treatment)
    ]
    if not points:
        raise InputError("there is nothing to draw: no treatment of all GEMMs by integers")
    metric = records[0].metric
    axes = _axes(seaborn)
    data = {key: [point[key] for point in points] for key in points[0]}
    seaborn.lineplot(data, x="β", y=metric, hue="percentile", marker="o", ax=axes)
    floats = [r.value for r in records if r.treatment["method"] == "float" and r.value is not None]
    for value in floats:
        axes.axhline(value, color="black", linestyle="--", label="float (parity)")
    betas = sorted({point["β"] for point in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    if metric == "perplexity":
        ticker = need("matplotlib.ticker", "report")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5)))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        if floats:
            lowest = min(floats + [point[metric] for point in points])
            axes.set_ylim(0.9 * lowest, min(axes.get_ylim()[1], VISIBLE * floats[0]))
    axes.minorticks_off()
    _save(seaborn, axes, path)


def draw_training(records: Sequence[TrainRecord], path: Path) -> None:
    """Draw the held-out metric over the steps; the band is the range over seeds."""
    seaborn = need("seaborn", "report")
    data: dict[str, list[Any]] = {"step": [], "value": [], "treatment": []}
    for record in records:
        for step, value in record.evaluations:
            data["step"].append(step)
            data["value"].append(value)
            data["treatment"].append(record.label)
    axes = _axes(seaborn)
    seaborn.lineplot(
        data, x="step", y="value", hue="treatment", errorbar=("pi", 100), marker="o", ax=axes
    )
    axes.set_ylabel(records[0].metric)
    _save(seaborn, axes, path)


def _is_plain(treatment: dict[str, Any]) -> bool:
    """Whether it treats every GEMM with one β and one percentile."""
    whole = treatment.get("gemms") == ["*"] and not treatment.get("skip")
    one = all(isinstance(treatment.get(key), int | float) for key in ("beta", "percentile"))
    return whole and one and len(treatment["ops"]) == 3 and treatment["method"] == "integers"


def _scales(treatment: dict[str, Any]) -> str:
    rows = treatment.get("granularity") == "row"
    return f"p = {treatment['percentile']:g}" + (", scales per row" if rows else "")


def _axes(seaborn: Any) -> Any:
    pyplot = need("matplotlib.pyplot", "report")
    pyplot.switch_backend("agg")
    seaborn.set_theme(style="whitegrid", palette="colorblind")
    return pyplot.subplots(figsize=(7, 4.5), layout="constrained")[1]


def _save(seaborn: Any, axes: Any, path: Path) -> None:
    axes.legend()
    seaborn.move_legend(axes, "lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    axes.figure.savefig(path, dpi=150)
    need("matplotlib.pyplot", "report").close(axes.figure)
