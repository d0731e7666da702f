"""What ``accelsim doctor`` finds out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from packaging.requirements import Requirement

from accelsim.cli.actions import backends_with_action, find_action, outcomes
from accelsim.errors import InputError
from accelsim.measure.machine import environment
from accelsim.plugins.extras import PURPOSES, how_to_install
from gemm_backends import Outcome, load_backend
from gemm_backends.baselines import list_baselines, load_baseline
from gemm_backends.survey import Surveyed, survey

PACKAGE = "accelsim"

_Rows: TypeAlias = list[dict[str, str]]


def find_sections(flags: Sequence[str]) -> dict[str, _Rows]:
    """Return the rows of each section by its title: the machine, and what runs on it.

    Parameters
    ----------
    flags : sequence of str
        Flags that backends added to the command; each is carried out and has a section.
    """
    return {
        "This machine": _machine(),
        "Backends": _backends(),
        "Baselines": _baselines(),
        "Extras": _extras(),
        **{f"--{flag}": _action(flag) for flag in flags},
    }


def _machine() -> _Rows:
    facts = environment()
    cpu, memory = facts["cpu"], facts["memory_bytes"]
    said = [
        ("accelsim", facts["accelsim"]),
        ("Python", facts["python"]),
        ("torch", f"{facts['torch']}, CPU kernels for {cpu['torch_capability']}"),
        ("system", f"{facts['os']}, {facts['kernel']}"),
        ("CPU", f"{cpu['model']}, {cpu['architecture']}, {' '.join(cpu['isa'])}"),
        ("cores", f"{cpu['usable_cores']} usable, {cpu['torch_threads']} torch threads"),
        ("memory", f"{memory / 2**30:.1f} GiB"),
    ]
    for gpu in facts["gpus"]:
        size = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        capability = f"compute capability {gpu['compute_capability']}"
        said.append(("GPU", f"{gpu['name']}, {capability}, {size}"))
    if facts["gpus"]:
        said.append(("CUDA", f"{facts['cuda']}, driver {facts['driver']}"))
    else:
        said.append(("GPU", "none that torch can use"))
    return [{"fact": fact, "value": value} for fact, value in said]


def _backends() -> _Rows:
    return [
        dict(zip(("backend", "runs here", "why not, or how"), _said(item), strict=True))
        for item in survey()
    ]


def _said(item: Surveyed) -> tuple[str, str, str]:
    if item.availability is None:
        return item.name, "broken", item.error
    said = item.availability
    how = f"{said.execution} on {said.device}"
    remark = f"{how}: {said.reason}" if said.reason else how
    return (item.name, "yes", remark) if said.available else (item.name, "no", said.reason)


def _baselines() -> _Rows:
    rows = []
    for name in list_baselines():
        row = {"baseline": name}
        for device in ("cpu", "cuda"):
            said = load_baseline(name).availability(device)
            row[device] = "yes" if said.available else f"no: {said.reason}"
        rows.append(row)
    return rows


def _extras() -> _Rows:
    rows = []
    for extra in importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []:
        missing = _missing(extra)
        needs = f"needs {', '.join(missing)}: {how_to_install(extra)}"
        purpose = PURPOSES.get(extra, "developing accelsim")
        rows.append({"extra": extra, "for": purpose, "state": needs if missing else "installed"})
    return sorted(rows, key=lambda row: [*PURPOSES, row["extra"]].index(row["extra"]))


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


def _action(flag: str) -> _Rows:
    rows = []
    for name in backends_with_action("doctor", flag):
        found: Iterable[Outcome]
        try:
            backend = load_backend(name)
            found = outcomes(find_action(type(backend), "doctor", flag), backend)
        except InputError as error:
            found = [Outcome("", "failed", str(error))]
        rows += [
            {"backend": name, "step": step.name, "result": step.status, "detail": step.detail}
            for step in found
        ]
    return rows
