"""The page of runs of GEMMs: verdicts, differences, tables, figures, what was asked, machines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from accelsim.measure.ratios import explain_doubts
from accelsim.records import Run
from accelsim.report.described import Described, describe
from accelsim.report.differences import differences
from accelsim.report.hardware import sources
from accelsim.report.html.about import AboutRun, lede
from accelsim.report.html.columns import Row, failure_columns, record_columns, summary_columns
from accelsim.report.html.design_rows import design_grid
from accelsim.report.html.differences import compared
from accelsim.report.html.grid import Grid
from accelsim.report.html.template import filled
from accelsim.report.limits import limits
from accelsim.report.line import Line
from accelsim.report.settings import Settings
from accelsim.report.words import explain_gemms, explain_strategies

if TYPE_CHECKING:
    from accelsim.report.figures import Figure

TOLERANCE = 0.05
"""Smallest slow-down at which a later run is called slower."""


def render_page(runs: Sequence[Run], figures: Sequence[Figure], left_out: Mapping[str, str]) -> str:
    """Return the whole page.

    Parameters
    ----------
    runs : sequence of Run
        At least one, each with a record.
    figures, left_out
        What `accelsim.report.figures.draw` returned.
    """
    described = describe(runs)
    rows = [
        Row(run.name, run.labels, Line([record])) for run in described for record in run.records
    ]
    ran = [row for row in rows if row.record.status.ran]
    failed = [row for row in rows if row.record.status.failed]
    sums = _sums(ran)
    measured = [row.record for row in ran]
    models = bool(ran) and all(row.record.cycles is not None for row in ran)
    comparisons = compared(described, TOLERANCE)
    hardware, best = design_grid(described)
    marked = [ratio for row in [*ran, *sums] for ratio in row.ratios.values()]
    return filled(
        "page.html.j2",
        title=" and ".join(run.name for run in described),
        lede=lede([row.record for row in rows]),
        runs=[AboutRun(*about) for about in zip(described, [None, *comparisons], strict=True)],
        failures=Grid("failures", failure_columns(failed), failed),
        not_run=_not_run(rows),
        warnings=differences(runs),
        comparisons=comparisons,
        hardware=hardware,
        cheapest=best,
        limits=_limits(described),
        sources=sources([row.record for row in rows]),
        models_first=models,
        summary=Grid("summary", summary_columns(sums, models), sums),
        marks=explain_doubts(marked),
        records=Grid("records", record_columns(rows, models), rows),
        words=[*explain_strategies(measured).items(), *explain_gemms(measured).items()],
        shared=Settings([row.record for row in rows]).shared,
        figures=figures,
        left_out=left_out,
    )


def _sums(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each setting and backend of a run, all GEMMs together."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    settings = Settings([row.record for row in rows])
    for row in rows:
        key = (row.run, *settings.sweep(row.record), row.labels.backend(row.record))
        groups[key].append(row)
    return [
        Row(same[0].run, same[0].labels, Line([row.record for row in same], summed=True))
        for same in groups.values()
    ]


def _limits(runs: Sequence[Described]) -> list[str]:
    """Say what limits the designs of each run, with its name where there are several."""
    return [
        words if run.alone else f"{run.name}: {words}"
        for run in runs
        for words in limits(run.designs)
    ]


def _not_run(rows: Sequence[Row]) -> list[str]:
    counts = Counter(
        (row.run, row.record.backend, row.record.status, row.record.reason)
        for row in rows
        if not row.record.status.ran
    )
    return [
        f"{run}: {backend} is {status} for {count} {'record' if count == 1 else 'records'}: {why}"
        for (run, backend, status, why), count in counts.items()
    ]
