"""The figure of ``accelsim tune``: the quality of plans against their cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelsim.errors import InputError
from accelsim.records.tuning import ACCURACY, COSINE, LOSS, PERPLEXITY, TuneRecord
from accelsim.report.figures.figure import Figure, style
from accelsim.report.figures.sheet import WIDE, legend, panels, plain_ticks, trace
from accelsim.report.tuning import front, harm_in_percent

_HARMS = {
    PERPLEXITY: "perplexity, % above float",
    COSINE: "1 - cosine",
    ACCURACY: "accuracy lost, %",
    LOSS: "loss, % above float",
}


def draw_front(records: Sequence[TuneRecord], path: Path) -> None:
    """Draw the quality of plans against their cost into a file.

    Raises
    ------
    InputError
        If there is no plan.
    """
    if not records:
        raise InputError("there is nothing to draw: no plan was verified")
    with style():
        figure = pareto_of_plans(records)
    figure.write(path)


def pareto_of_plans(records: Sequence[TuneRecord], width: float = WIDE) -> Figure:
    """Draw uniform plans, tuned plans and their Pareto front.

    Parameters
    ----------
    records : sequence of TuneRecord
        Of one model.
    width : float
        In inches.
    """
    canvas, (axes,) = panels(width, 1, height=3.4)
    groups: dict[str, list[TuneRecord]] = {}
    for record in records:
        kind = "one β for all" if record.label.startswith("β = ") else "tuned"
        groups.setdefault(kind, []).append(record)
    best = front(records)
    metric = records[0].metric

    def shown(record: TuneRecord) -> float:
        return max(1e-4, record.harm if metric == COSINE else harm_in_percent(record))

    for index, (kind, own) in enumerate(groups.items()):
        ordered = sorted(own, key=lambda record: record.cost)
        x = [record.cost for record in ordered]
        trace(axes, x, [shown(r) for r in ordered], index, kind)
        axes.lines[-1].set_linestyle("none")
    ordered = sorted(best, key=lambda record: record.cost)
    axes.plot(
        [record.cost for record in ordered], [shown(record) for record in ordered],
        color=axes.xaxis.label.get_color(), linewidth=1.0, label="front", drawstyle="steps-post",
    )  # fmt: skip
    plain_ticks(axes.yaxis)
    unit = records[0].cost_unit
    axes.set(xlabel=unit, ylabel=_HARMS[metric])
    legend(canvas)
    return Figure(
        name="plans",
        title="Quality against cost",
        alt=f"{len(records)} plans; {len(best)} of them are on the front.",
        caption="Each point is a plan that was evaluated as a whole on text that was not tuned on, "
        "too; the worse of both counts. The line is the Pareto front.",
        canvas=canvas,
    )
