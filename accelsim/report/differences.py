"""Other differences between compared runs: machines, clocks, versions, operands."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from accelsim.measure.ratios import BUSY
from accelsim.records import Record, Run
from accelsim.records.loading import ExperimentRun
from accelsim.report.cells import text
from accelsim.report.fields import flatten

_MACHINE_FIELDS = (
    "accelsim",
    "torch",
    "numpy",
    "python",
    "cpu.model",
    "cpu.isa",
    "cpu.usable_cores",
    "cpu.torch_threads",
    "gpus",
    "driver",
    "cuda",
)
"""Facts about a machine that can change a result or a time."""

_CONFIG_FIELDS = ("k_split", "timing.cache", "timing.prepared")
"""Parts of a config that change what is timed and are not in a record's key."""

_CLOCK_TOLERANCE = 0.05


def labels(runs: Sequence[Run | ExperimentRun]) -> list[str]:
    """Return the name of each run: that of its folder, or its path if two names are equal."""
    names = Counter(run.name for run in runs)
    return [run.name if names[run.name] == 1 else str(run.path) for run in runs]


def differences(runs: Sequence[Run]) -> list[str]:
    """Return what makes the times or the results of runs hard to compare.

    Parameters
    ----------
    runs : sequence of Run
        The runs that are compared.
    """
    named = list(zip(labels(runs), runs, strict=True))
    machines = [
        (label, _essence(session["machine"])) for label, run in named for session in run.sessions
    ]
    lines = [
        f"the machines differ in {field}: {values}"
        for field in _MACHINE_FIELDS
        if (values := _distinct([(label, machine.get(field)) for label, machine in machines]))
    ]
    configs = [(label, flatten(run.config)) for label, run in named if run.config]
    lines += [
        f"the runs differ in {field}: {values}"
        for field in _CONFIG_FIELDS
        if (values := _distinct([(label, config.get(field)) for label, config in configs]))
    ]
    commits = [(label, _commit(session)) for label, run in named for session in run.sessions]
    known = [(label, commit) for label, commit in commits if commit]
    if values := _distinct(known):
        lines.append(f"accelsim itself ran from different commits: {values}")
    lines += [*_clocks(named), *_operands(named), *_loads(named)]
    if len(runs) > 1:
        lines += [
            f"{label} has no run.json: its machine is unknown"
            for label, run in named
            if not run.sessions
        ]
    return lines


def _distinct(values: Sequence[tuple[str, Any]]) -> str:
    """Describe the values that differ, each with the first run that has it; empty if none do."""
    found: dict[str, str] = {}
    for label, value in values:
        found.setdefault(text(value), label)
    return (
        "; ".join(f"{label}: {value}" for value, label in found.items()) if len(found) > 1 else ""
    )


def _commit(session: Mapping[str, Any]) -> str | None:
    git = session.get("git")
    return f"{git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else None


def _clocks(named: Sequence[tuple[str, Run]]) -> Iterator[str]:
    """Compare the clocks that the records of each device saw."""
    rates: dict[str, dict[str, float]] = defaultdict(dict)
    for label, run in named:
        seen: dict[str, list[float]] = defaultdict(list)
        for record in run.records:
            if record.timing is not None and record.device is not None:
                seen[record.device] += [mhz for mhz in record.timing.clock_mhz if mhz]
        for device, values in seen.items():
            if values:
                rates[device][label] = median(values)
    for device, of_run in rates.items():
        if max(of_run.values()) > (1 + _CLOCK_TOLERANCE) * min(of_run.values()):
            said = "; ".join(f"{label}: {mhz:.0f} MHz" for label, mhz in of_run.items())
            yield f"the clocks of {device} differ: {said}"


def _operands(named: Sequence[tuple[str, Run]]) -> Iterator[str]:
    """Compare the hashes of the operands of GEMMs that have the same name."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for _, run in named:
        for record in run.records:
            if record.operands_sha256:
                hashes[f"{record.workload}/{record.gemm}"].add(record.operands_sha256)
    differing = [name for name, found in hashes.items() if len(found) > 1]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        yield f"the operands differ, so the results do: {', '.join(differing[:3])}{more}"


def busy(records: Iterable[Record]) -> str:
    """Return a note if the machine had other work than the run that made these records."""
    loads = [record.timing.load_per_core for record in records if record.timing is not None]
    if not loads or median(loads) <= BUSY:
        return ""
    return f"ran on a busy machine: {median(loads):.1f} processes per core"


def _loads(named: Sequence[tuple[str, Run]]) -> Iterator[str]:
    for label, run in named:
        if said := busy(run.records):
            yield f"{label} {said}"


def _essence(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a machine as fields, its GPUs by their names and power limits."""
    gpus = [f"{gpu['name']} ({gpu['power_limit_w']} W)" for gpu in machine["gpus"]]
    return {**flatten(machine), "gpus": ", ".join(gpus) or "none"}
