"""``accelsim doctor``: what this machine can run, and what to install for the rest."""

from __future__ import annotations

import importlib.metadata

import click
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from accelsim.cli.actions import (
    ActionCommand,
    backends_with_action,
    chosen,
    find_action,
    outcomes,
)
from accelsim.environment import environment
from accelsim.errors import InputError
from gemm_backends import load_backend
from gemm_backends.baselines import list_baselines, load_baseline
from gemm_backends.survey import survey

PACKAGE = "accelsim"


@click.command("doctor", cls=ActionCommand)
def command(**flags: bool) -> None:
    """Describe this machine, and say what can run on it and what to install for the rest."""
    console = Console(markup=False, highlight=False)
    for title, table in (
        ("This machine", _machine()),
        ("Backends", _backends()),
        ("Baselines", _baselines()),
        ("Extras", _extras()),
    ):
        console.print(f"\n{title}")
        console.print(table)
    for flag in chosen(flags):
        console.print(f"\n--{flag}")
        console.print(_action(flag))


def _machine() -> Table:
    facts = environment()
    cpu, memory = facts["cpu"], facts["memory_bytes"]
    table = Table(show_header=False)
    table.add_row("accelsim", facts["accelsim"])
    table.add_row("Python", facts["python"])
    table.add_row("torch", f"{facts['torch']}, CPU kernels for {cpu['torch_capability']}")
    table.add_row("system", f"{facts['os']}, {facts['kernel']}")
    table.add_row("CPU", f"{cpu['model']}, {cpu['architecture']}, {' '.join(cpu['isa'])}")
    table.add_row("cores", f"{cpu['usable_cores']} usable, {cpu['torch_threads']} torch threads")
    table.add_row("memory", f"{memory / 2**30:.1f} GiB")
    for gpu in facts["gpus"]:
        size = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        capability = f"compute capability {gpu['compute_capability']}"
        table.add_row("GPU", f"{gpu['name']}, {capability}, {size}")
    if facts["gpus"]:
        table.add_row("CUDA", f"{facts['cuda']}, driver {facts['driver']}")
    else:
        table.add_row("GPU", "none that torch can use")
    return table


def _backends() -> Table:
    table = Table("backend", "runs here", "why not, or how")
    for item in survey():
        if item.availability is None:
            table.add_row(item.name, "broken", item.error)
            continue
        said = item.availability
        how = f"{said.execution} on {said.device}"
        remark = f"{how}: {said.reason}" if said.reason else how
        table.add_row(
            item.name,
            "yes" if said.available else "no",
            remark if said.available else said.reason,
        )
    return table


def _baselines() -> Table:
    table = Table("baseline", "cpu", "cuda")
    for name in list_baselines():
        availabilities = [load_baseline(name).availability(device) for device in ("cpu", "cuda")]
        table.add_row(name, *("yes" if a.available else f"no: {a.reason}" for a in availabilities))
    return table


def _extras() -> Table:
    table = Table("extra", "state")
    for extra in importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []:
        missing = _missing(extra)
        table.add_row(
            extra,
            f"needs {', '.join(missing)}: pip install '{PACKAGE}[{extra}]'"
            if missing
            else "installed",
        )
    return table


def _missing(extra: str) -> list[str]:
    """Return the requirements of an extra that are not installed."""
    missing = []
    for text in importlib.metadata.requires(PACKAGE) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if (
            marker is None
            or marker.evaluate({"extra": ""})
            or not marker.evaluate({"extra": extra})
        ):
            continue
        if requirement.name == PACKAGE:
            for other in requirement.extras:
                missing += _missing(other)
        elif not _installed(requirement):
            missing.append(f"{requirement.name}{requirement.specifier}")
    return missing


def _installed(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _action(flag: str) -> Table:
    table = Table("backend", "step", "result", "detail")
    for name in backends_with_action("doctor", flag):
        try:
            backend = load_backend(name)
        except InputError as error:
            table.add_row(name, "", "failed", str(error))
            continue
        for outcome in outcomes(find_action(type(backend), "doctor", flag), backend):
            table.add_row(name, outcome.name, outcome.status, outcome.detail)
    return table
