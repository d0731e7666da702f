"""The page: what was asked, verdicts, tables, figures and machines of some runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from accelsim.errors import InputError
from accelsim.records import Record, Run, Status
from accelsim.report.cells import text
from accelsim.report.design_columns import Compared
from accelsim.report.designs import Design, cheapest, designs
from accelsim.report.differences import differences, labels
from accelsim.report.fields import flatten
from accelsim.report.html.columns import Row, failure_columns, record_columns, summary_columns
from accelsim.report.html.design_rows import DesignRow, design_columns
from accelsim.report.html.grid import Grid
from accelsim.report.line import Line
from accelsim.report.regressions import Regressions, find_regressions
from accelsim.report.settings import Settings
from accelsim.report.summary import verdict
from accelsim.report.summary_rows import Labels

if TYPE_CHECKING:
    from accelsim.report.figures import Figure

TOLERANCE = 0.05
"""Below this slow-down a later run is not called slower."""


def render_page(runs: Sequence[Run], figures: Sequence[Figure], left_out: Mapping[str, str]) -> str:
    """Return the whole page.

    Parameters
    ----------
    runs : sequence of Run
        At least one, each with a record.
    figures, left_out
        What `accelsim.report.figures.draw` returned.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    named = list(zip(labels(runs), runs, strict=True))
    rows = [
        Row(name, of_run, Line([record]))
        for name, run in named
        for of_run in [Labels(run.records)]
        for record in run.records
    ]
    ran = [row for row in rows if row.record.status.ran]
    failed = [row for row in rows if row.record.status.failed]
    sums = _sums(ran)
    environment = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    here = files(__package__)
    return environment.get_template("page.html.j2").render(
        title=" and ".join(name for name, _ in named),
        style=(here / "page.css").read_text(),
        script=(here / "tables.js").read_text(),
        runs=[_AboutRun(name, run) for name, run in named],
        failures=Grid("failures", failure_columns(failed), failed),
        not_run=_not_run(rows),
        warnings=differences(runs),
        comparisons=list(_comparisons(named)),
        hardware=_hardware(named),
        models_first=bool(ran) and all(row.record.cycles is not None for row in ran),
        summary=Grid("summary", summary_columns(sums), sums),
        records=Grid("records", record_columns(rows), rows),
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


def _hardware(named: Sequence[tuple[str, Run]]) -> Grid[DesignRow]:
    """Return a row for each modelled accelerator of each run, all GEMMs together."""
    rows = []
    for name, run in named:
        groups: dict[str, list[Design]] = defaultdict(list)
        for design in designs(run.records):
            groups[design.asked].append(design)
        for members in groups.values():
            best = cheapest(members)
            least = None if best is None else best.area_time
            rows += [DesignRow(name, Compared(design, least)) for design in members]
    return Grid("hardware", design_columns(rows), rows)


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


def _comparisons(named: Sequence[tuple[str, Run]]) -> Iterator[Regressions | str]:
    """Compare each later run with the first, or say why that cannot be done."""
    (first, old), *others = named
    for name, new in others:
        records = [
            {"run": label, **record.to_dict()}
            for label, run in ((first, old), (name, new))
            for record in run.records
        ]
        try:
            yield find_regressions(records, first, name, TOLERANCE)
        except InputError as error:
            yield str(error)


@dataclass(frozen=True)
class _AboutRun:
    """What the page says of one run."""

    name: str
    run: Run

    @property
    def verdict(self) -> str:
        return verdict(self.run.records)

    @property
    def good(self) -> bool:
        done = (Status.OK, Status.COUNTED)
        return any(record.status in done for record in self.run.records) and not any(
            record.status.failed for record in self.run.records
        )

    @property
    def backends(self) -> list[tuple[str, dict[str, int]]]:
        """Each backend with how many of its records have each status."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        names = Labels(self.run.records)
        for record in self.run.records:
            counts[names.backend(record)][str(record.status)] += 1
        return [(name, dict(found)) for name, found in counts.items()]

    @property
    def statuses(self) -> list[str]:
        found = {record.status for record in self.run.records}
        return [str(status) for status in Status if status in found]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The config, one line for each key."""
        config = self.run.config
        lists = {
            key: [_said(item) for item in config[key]]
            for key in ("workloads", "backends", "baselines")
            if config.get(key)
        }
        return [
            *((key, ", ".join(items)) for key, items in lists.items()),
            *(
                (key, _said(config[key]))
                for key in ("quantize", "unpack", "k_split", "timing")
                if key in config
            ),
        ]

    @property
    def machine(self) -> list[tuple[str, str]]:
        """The machine, the clock and the versions, one line for each."""
        facts = flatten(self.run.machine)
        known = [
            (key, _fact(key, value)) for key, value in facts.items() if value not in (None, [])
        ]
        for session in self.run.sessions[:1]:
            known += [(f"clock of {key}", value) for key, value in session["clock_source"].items()]
            if session.get("git"):
                dirty = ", with changes" if session["git"]["dirty"] else ""
                known.append(("commit of accelsim", f"{session['git']['commit']}{dirty}"))
        return known

    @property
    def when(self) -> str:
        """When it started and ended, and how often it was resumed."""
        if not self.run.sessions:
            return "no run.json: config, machine and time are unknown"
        start, end = self.run.sessions[0]["start"], self.run.sessions[-1]["end"]
        resumed = len(self.run.sessions) - 1
        again = f", resumed {resumed} times" if resumed else ""
        until = f" to {_time(end)}" if end else ", not finished"
        return f"{_time(start)}{until}{again}"

    @property
    def timing(self) -> str:
        """How the times came about, from the notes of the records."""
        return _timing(self.run.records)


def _timing(records: Sequence[Record]) -> str:
    notes = [record.timing for record in records if record.timing is not None]
    if not notes:
        return "Nothing was timed."
    repeats = [record.time_ms["total"].repeats for record in records if "total" in record.time_ms]
    caches = " and ".join(dict.fromkeys(note.cache for note in notes))
    loads = [note.load_per_core for note in notes]
    outliers = sum(note.outliers for note in notes)
    return (
        f"Medians of {_range(repeats)} repeats after {_range([note.warmup for note in notes])} "
        f"warm-up repeats, {caches} cache; {outliers} of {sum(repeats)} repeats are outliers, which"
        f" count; the load was {min(loads):.1f} to {max(loads):.1f} processes per core."
    )


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return text(value)


def _fact(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, list):
        return "; ".join(_said(item) for item in value)
    return text(value)


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"
