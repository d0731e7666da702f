"""The texts about a run on its page: verdict, config, machine and method."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accelsim.config.sections import ConfigSections
from accelsim.records import Record, Status
from accelsim.report.cells import text
from accelsim.report.described import Described
from accelsim.report.fields import flatten
from accelsim.report.html.differences import Comparison
from accelsim.report.problems import verdict

_ALWAYS = ("percentile", "beta", "bits", "strategy", "digits", "repeats", "warmup")
"""Keys of a config that are shown even if they have the default value."""


@dataclass(frozen=True)
class AboutRun:
    """The texts about one run of GEMMs, and its comparison with the first run."""

    described: Described
    comparison: Comparison | None = None

    @property
    def name(self) -> str:
        """The run's name on the page."""
        return self.described.name

    @property
    def records(self) -> Sequence[Record]:
        """Its records."""
        return self.described.records

    @property
    def verdict(self) -> str:
        """How many results are exact and how many slower than in the first run, in a sentence."""
        words = verdict(self.records, reasons=False)
        if self.good and not self.judged:
            words += ": exactness is not judged"
        found = self.comparison and self.comparison.found
        if not found:
            return words
        return f"{words}; {found.counts['slower']} slower than in {found.old}"

    @property
    def judged(self) -> bool:
        """Whether some product was computed and compared, and not only counted."""
        return any(record.exact is not None for record in self.records)

    @property
    def good(self) -> bool:
        """Whether something was found, nothing failed and nothing is slower."""
        if self.comparison and self.comparison.found and self.comparison.found.failed:
            return False
        done = (Status.OK, Status.COUNTED)
        return any(record.status in done for record in self.records) and not any(
            record.status.failed for record in self.records
        )

    @property
    def backends(self) -> list[tuple[str, dict[str, int]]]:
        """Each backend with how many of its records have each status."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for record in self.records:
            counts[self.described.labels.backend(record)][str(record.status)] += 1
        return [(name, dict(found)) for name, found in counts.items()]

    @property
    def statuses(self) -> list[str]:
        """The statuses that its records have."""
        found = {record.status for record in self.records}
        return [str(status) for status in Status if status in found]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The config, one line for each key that is not the default."""
        config = self.described.run.config
        lines = []
        for key in ("workloads", "backends", "accelerator", "baselines"):
            if config.get(key):
                lines.append((key, "; ".join(map(_said, config[key]))))
        for key in ("quantize", "unpack", "timing"):
            if told := _unusual(config.get(key, {}), key):
                lines.append((key, _said(told)))
        for key in ("k_split", "product"):
            if config.get(key) not in (None, ConfigSections.model_fields[key].default):
                lines.append((key, _said(config[key])))
        return lines

    @property
    def machine(self) -> list[tuple[str, str]]:
        """The machine, the clock and the versions, one line for each."""
        return machine_facts(self.described.run.sessions)

    @property
    def when(self) -> str:
        """When it started and ended, and how often it was resumed."""
        return when(self.described.run.sessions)

    @property
    def timing(self) -> str:
        """The conditions of timing, from the notes of the records."""
        return _timing(self.records)


def lede(records: Sequence[Record]) -> str:
    """Say in a few sentences what was done: GEMMs were multiplied, or operations only counted."""
    counted = [record.status is Status.COUNTED for record in records if record.status.ran]
    begin = "Every GEMM was rounded to integers and written in digits of b bits"
    if counted and all(counted):
        words = [
            f"GEMMs in exact low-bit integers, counted by accelsim. {begin}; the operations of a "
            "backend were counted and nothing was multiplied, so that there is no verdict on "
            "exactness."
        ]
    else:
        words = [
            f"Exact low-bit GEMMs, measured by accelsim. {begin}, multiplied by a backend and put "
            "together again; a result is exact if every integer equals that of an independent "
            "oracle."
        ]
        words += ["Some records are counted, without multiplying."] if any(counted) else []
    if any(record.ratio_basis in ("drawn", "sampled") for record in records):
        words.append(
            "Operands were drawn from a profile of measured heavy hitters: the `profile` of a "
            "model below, or the shipped one, that of SmolLM2-135M."
        )
    return " ".join(words)


def machine_facts(sessions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the machine, the clock and the versions of a run, one line for each."""
    if not sessions:
        return []
    first = sessions[0]
    known = [
        (_title(key), _fact(key, value))
        for key, value in flatten(first["machine"]).items()
        if value not in (None, [])
    ]
    known += [(f"clock of {key}", value) for key, value in first.get("clock_source", {}).items()]
    if first.get("git"):
        dirty = ", with changes" if first["git"]["dirty"] else ""
        known.append(("commit of accelsim", f"{first['git']['commit']}{dirty}"))
    return known


def when(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return when a run started and ended, and how often it was resumed."""
    if not sessions:
        return "no run.json: config, machine and time are unknown"
    start, end = sessions[0]["start"], sessions[-1].get("end")
    resumed = len(sessions) - 1
    again = f", resumed {resumed} times" if resumed else ""
    until = f" to {_time(end)}" if end else ", not finished"
    return f"{_time(start)}{until}{again}"


def _unusual(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the values of a config's section that differ from the default or are always shown."""
    usual = ConfigSections.model_fields[key].default.model_dump(mode="json")
    return {
        name: value
        for name, value in section.items()
        if name in _ALWAYS or (value and _listed(value) != _listed(usual.get(name)))
    }


def _listed(value: Any) -> str:
    return json.dumps(value if isinstance(value, list) else [value], sort_keys=True)


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


def _title(key: str) -> str:
    return key.removesuffix("_bytes").replace("_", " ").replace(".", ": ")


def _fact(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, list):
        return "; ".join(_said(item) for item in value)
    return text(value)


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"
