"""What a comparison of runs needs besides a pivot: defaults, speed-ups, differing machines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from accelsim.errors import InputError, unknown_name
from accelsim.report.cells import text
from accelsim.report.fields import flatten, lookup
from accelsim.report.options import telling_options
from accelsim.results import KEY_FIELDS, Run, record_key

ROWS = ("gemm", "beta", "bits", "strategy")

TOTAL = "time_ms.total"

_Row: TypeAlias = dict[str, Any]

_OF_BACKEND = ("backend", "backend_options")

_MACHINE_FIELDS = (
    "accelsim",
    "torch",
    "cpu.model",
    "cpu.isa",
    "cpu.usable_cores",
    "cpu.torch_threads",
    "gpus",
    "driver",
    "cuda",
)
"""What of a machine can change a result or a time."""


def default_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return `ROWS`, and what else varies if a cell would hold several records without it."""
    rows = [field for field in ROWS if field not in columns]
    cells = {tuple(text(lookup(r, field)) for field in (*rows, *columns)) for r in records}
    if len(cells) == len(records):
        return rows
    swept = [
        field
        for field in KEY_FIELDS
        if field not in (*rows, *columns, *_OF_BACKEND)
        and len({text(record[field]) for record in records}) > 1
    ]
    return [*swept, *rows]


def default_columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the backend, with the run and the options where they tell records apart."""
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        runs[record["run"]].append(record)
    options = {
        f"backend_options.{name}": None
        for of_run in runs.values()
        for names in telling_options(of_run).values()
        for name in names
    }
    return [*(["run"] if len(runs) > 1 else []), "backend", *options]


def add_speedup(records: Sequence[_Row], baseline: str) -> str:
    """Put ``speedup_vs[baseline]`` into every record that has a total time.

    Parameters
    ----------
    records : sequence of dict
        Records as mappings, each with the name of its ``run``. They are changed.
    baseline : str
        A float baseline, or a backend: then the same GEMM with the same settings in the same
        run is what a record is compared with.

    Returns
    -------
    str
        The name of the field.

    Raises
    ------
    InputError
        If neither a baseline nor a backend has this name, or it was never timed.
    """
    floats = {name for record in records for name in record["baselines"]}
    backends = {record["backend"] for record in records}
    if baseline not in floats | backends:
        raise InputError(unknown_name("baseline", baseline, floats | backends))
    if baseline in floats:
        reference = [record["baselines"].get(baseline) for record in records]
    else:
        reference = _times_of_backend(records, baseline)
    found = False
    for record, time in zip(records, reference, strict=True):
        total = lookup(record, TOTAL)
        if time is not None and total:
            record["speedup_vs"] = {**record["speedup_vs"], baseline: time / total}
            found = True
    if not found:
        raise InputError(f"no speed-up against {baseline}: there are no times to compare")
    return f"speedup_vs.{baseline}"


def _times_of_backend(records: Sequence[_Row], backend: str) -> list[float | None]:
    """Return for each record the total time of `backend` on the same GEMM and settings."""
    times: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records:
        total = lookup(record, TOTAL)
        if record["backend"] == backend and total is not None:
            times[_problem(record)].append(total)
    return [
        median(times[problem]) if (problem := _problem(record)) in times else None
        for record in records
    ]


def _problem(record: _Row) -> tuple[str, ...]:
    """Return the key of a record without its backend, and with its run."""
    return (record["run"], *record_key({**record, "backend": "", "backend_options": {}}))


def labels(runs: Sequence[Run]) -> list[str]:
    """Return what to call each run: its folder's name, or its path where two names are the same."""
    names = Counter(run.name for run in runs)
    return [run.name if names[run.name] == 1 else str(run.path) for run in runs]


def differences(runs: Sequence[Run]) -> list[str]:
    """Say in what the machines differ on which the runs and their sessions took place.

    Parameters
    ----------
    runs : sequence of Run
        The runs that are compared.
    """
    named = list(zip(labels(runs), runs, strict=True))
    machines = [
        (label, _essence(session["machine"])) for label, run in named for session in run.sessions
    ]
    lines = []
    for field in _MACHINE_FIELDS:
        found: dict[str, str] = {}
        for label, machine in machines:
            found.setdefault(text(machine.get(field)), label)
        if len(found) > 1:
            values = "; ".join(f"{label}: {value}" for value, label in found.items())
            lines.append(f"the machines differ in {field}: {values}")
    if len(runs) > 1:
        lines += [
            f"{label} has no run.json: its machine is unknown"
            for label, run in named
            if not run.sessions
        ]
    return lines


def _essence(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a machine as fields, its GPUs by their names and power limits."""
    gpus = [f"{gpu['name']} ({gpu['power_limit_w']} W)" for gpu in machine["gpus"]]
    return {**flatten(machine), "gpus": ", ".join(gpus) or "none"}
