"""The page of experiments with models: verdict, results, figures, and the tally if there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.records.ladder import LadderRecord
from accelsim.records.loading import ExperimentRecord, ExperimentRun
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.report.cells import count, number, text
from accelsim.report.experiments import quality_rows, training_rows
from accelsim.report.figures.experiments import experiment_figures
from accelsim.report.html.about import machine_facts, when
from accelsim.report.html.grid import Column, Grid
from accelsim.report.html.template import filled
from accelsim.report.ladder import ladder_rows
from accelsim.report.sensitivity import correlation_line, sensitivity_rows
from accelsim.report.tuning import tuning_rows

if TYPE_CHECKING:
    from accelsim.report.figures import Figure

PARITY = 0.01
"""Largest relative increase of perplexity over floats that counts as the same."""

_NOT_TOLD = ("treatments", "name")
"""Keys of a config that are shown elsewhere on the page."""

_TALLY: dict[str, str] = {
    "gemms": "GEMMs that were computed from integers",
    "dense_macs": "multiplications of these GEMMs",
    "coverage": "share of the model's multiplications that was in integers",
    "not_chosen_macs": "multiplications that were left in floats as configured",
    "skipped_macs": "multiplications that stayed in floats although they were chosen",
    "skipped_unknown": "calls of unknown size that stayed in floats",
    "ratio": "low-bit multiplications over those of the unpacked GEMMs",
    "low_bit_macs": "low-bit multiplications",
    "out_of_bound": "entries that do not fit one digit",
    "checked": "GEMMs whose integers were compared with the oracle's",
    "inexact": "checked GEMMs with a wrong integer",
    "overflows": "GEMMs in which an accumulator overflowed",
}

_VERDICTS = ("inexact", "overflows")
"""Counts that are shown even if they are 0, when something was checked."""


LEDES: dict[type[ExperimentRecord], str] = {
    EvalRecord: "A trained model evaluated with its GEMMs in floats and in exact integers, by "
    "accelsim.",
    TrainRecord: "A small model trained from scratch with its GEMMs in floats and in exact "
    "integers. Every treatment starts from the same weights and sees the same data in the same "
    "order.",
    SensitivityRecord: "Each kind of operand of each GEMM of a model alone in exact integers, all "
    "else in floats.",
    TuneRecord: "Plans for the GEMMs of a model, each evaluated as a whole: the cheapest integers "
    "that keep its quality.",
    LadderRecord: "GEMMs in exact integers of growing β, and in float formats: the relative error "
    "of each beside its cost.",
}
"""What a page says first."""


@dataclass(frozen=True)
class AboutExperiment:
    """The texts and figures of one run."""

    run: ExperimentRun
    name: str

    @property
    def records(self) -> Sequence[ExperimentRecord]:
        """Its records."""
        return self.run.records

    @property
    def _treated(self) -> list[EvalRecord | TrainRecord]:
        return [record for record in self.records if isinstance(record, EvalRecord | TrainRecord)]

    @property
    def _plans(self) -> list[TuneRecord]:
        return [record for record in self.records if isinstance(record, TuneRecord)]

    @property
    def _spots(self) -> list[SensitivityRecord]:
        return [record for record in self.records if isinstance(record, SensitivityRecord)]

    @property
    def _rungs(self) -> list[LadderRecord]:
        return [record for record in self.records if isinstance(record, LadderRecord)]

    @property
    def good(self) -> bool:
        """Whether all treatments finished, no integer was wrong, and a plan keeps its target."""
        kept = not self._plans or any(record.meets for record in self._plans)
        return kept and not any(record.failed for record in self._treated)

    @property
    def verdict(self) -> str:
        """How many treatments finished and whether integers are exact, or what was found."""
        if self._plans:
            kept = sum(record.meets for record in self._plans)
            return f"{kept} of {len(self._plans)} plans keep {self._plans[0].target!r}"
        if self._rungs:
            gemms = len({(record.workload, record.gemm) for record in self._rungs})
            return f"{len(self._rungs):,} products of {gemms:,} GEMMs"
        if self._spots:
            places = len({record.gemm for record in self._spots})
            return f"{len(self._spots):,} measurements of {places:,} GEMMs"
        return self._finished

    @property
    def _finished(self) -> str:
        treated = self._treated
        failed = sum(record.failed for record in treated)
        checked = sum(_whole(record.tally.get("checked")) for record in treated)
        inexact = sum(_whole(record.tally.get("inexact")) for record in treated)
        words = f"{len(treated) - failed} of {len(treated)} finished"
        if checked:
            words += f"; {checked - inexact:,} of {checked:,} checked GEMMs exact"
        return words

    @property
    def parity(self) -> str:
        """Which treatments reach the quality of floats; the best plan; what errors tell."""
        if self._spots:
            words = correlation_line(self._spots)
            return f"{words[0].upper()}{words[1:]}."
        if kept := [record for record in self._plans if record.meets]:
            best = min(kept, key=lambda record: record.cost)
            return f"The cheapest of these: {best.label}, unpack ratio {best.ratio:.4g}."
        floats = [r.value for r in self.records if isinstance(r, EvalRecord) and _is_float(r)]
        if not floats or not floats[0] or self._treated[0].metric != "perplexity":
            return ""
        close = [
            record.label
            for record in self.records
            if isinstance(record, EvalRecord) and record.value is not None
            and not _is_float(record) and record.value <= (1 + PARITY) * floats[0]
        ]  # fmt: skip
        found = "; ".join(close) or "no treatment"
        return f"Within {PARITY:.0%} of the perplexity in floats ({floats[0]:.4g}): {found}."

    @property
    def failures(self) -> list[str]:
        """Each treatment that failed, and why."""
        return [
            f"{record.label}: {record.reason or 'a wrong integer or an overflow'}"
            for record in self._treated
            if record.failed
        ]

    @cached_property
    def _drawn(self) -> tuple[list[Figure], dict[str, str]]:
        return experiment_figures(self.run.records)

    @property
    def figures(self) -> list[Figure]:
        """Its figures, under names that are the run's own."""
        return [replace(figure, name=f"{self.name}-{figure.name}") for figure in self._drawn[0]]

    @property
    def left_out(self) -> dict[str, str]:
        """Figures that cannot be drawn, with the reason."""
        return self._drawn[1]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The config, and each treatment."""
        lines = [
            (key.replace("_", " "), text(value))
            for key, value in self.run.config.items()
            if key not in _NOT_TOLD and value not in (None, [], {})
        ]
        labels = dict.fromkeys(record.label for record in self._treated)
        return [*lines, *([("treatments", "; ".join(labels))] if labels else [])]

    @property
    def machine(self) -> list[tuple[str, str]]:
        """The machine and the versions, one line for each."""
        return machine_facts(self.run.sessions)

    @property
    def when(self) -> str:
        """When it started and ended."""
        return when(self.run.sessions)

    timing = ""


def render_experiments(runs: Sequence[ExperimentRun], names: Sequence[str]) -> str:
    """Return the page of some runs of one kind.

    Parameters
    ----------
    runs : sequence of ExperimentRun
        At least one, each with a record; all of the same command.
    names : sequence of str
        What the page calls them.
    """
    about = [AboutExperiment(run, name) for run, name in zip(runs, names, strict=True)]
    rows: list[Mapping[str, Any]] = []
    tallies: list[Mapping[str, Any]] = []
    for one in about:
        named = {"run": one.name} if len(about) > 1 else {}
        rows += [{**named, **row} for row in _rows(one.records)]
        for record in one.records:
            seed = {"seed": record.seed} if isinstance(record, TrainRecord) else {}
            if isinstance(record, EvalRecord | TrainRecord) and record.tally:
                tallies.append({**named, "treatment": record.label, **seed, **record.tally})
    return filled(
        "experiment.html.j2",
        title=" and ".join(names),
        lede=LEDES[type(runs[0].records[0])],
        runs=about,
        results=Grid("results", _columns(rows), rows),
        tallies=Grid("tally", _tally_columns(tallies), tallies),
    )


_ROWS: dict[type[ExperimentRecord], Callable[[Sequence[Any]], list[dict[str, Any]]]] = {
    EvalRecord: quality_rows,
    TrainRecord: training_rows,
    SensitivityRecord: sensitivity_rows,
    TuneRecord: tuning_rows,
    LadderRecord: ladder_rows,
}


def _rows(records: Sequence[ExperimentRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table that the command prints too."""
    return _ROWS[type(records[0])](records)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[Column[Mapping[str, Any]]]:
    """Return a column for each field; texts are labels that can be chosen from."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [
        Column(
            name, "", partial(_value, name),
            None if all(isinstance(row.get(name), str | bool) for row in rows) else _number,
            rank="always" if place < 4 else "wide",
        )
        for place, name in enumerate(names)
    ]  # fmt: skip


def _tally_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column[Mapping[str, Any]]]:
    checked = any(row.get("checked") for row in rows)
    columns: list[Column[Mapping[str, Any]]] = [
        Column(name, "", partial(_value, name), rank="always")
        for name in ("run", "treatment", "seed")
        if any(name in row for row in rows)
    ]
    columns += [
        Column(
            name.replace("_", " "), words, partial(_value, name),
            (lambda value: f"{value:.2%}") if name == "coverage"
            else number if name == "ratio" else count,
            rank="always" if name in ("gemms", "coverage", "checked", "inexact") else "wide",
        )
        for name, words in _TALLY.items()
        if any(row.get(name) for row in rows) or (name in _VERDICTS and checked)
    ]  # fmt: skip
    columns.append(
        Column(
            "stayed in floats", "the calls, by reason", _skipped, rank="wide"
        )
    )  # fmt: skip
    return columns


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _value(name: str, row: Mapping[str, Any]) -> Any:
    value = row.get(name)
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _skipped(row: Mapping[str, Any]) -> str | None:
    skipped = row.get("skipped") or {}
    return "; ".join(f"{reason}: {calls}" for reason, calls in skipped.items()) or None


def _is_float(record: EvalRecord) -> bool:
    return record.treatment["method"] == "float"


def _whole(value: Any) -> int:
    return int(value or 0)
