"""The files of plans: read, checked, and made of values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accelsim.config.document import Document, read_document
from accelsim.config.entries import check_strategies, target
from accelsim.config.messages import explained, validated
from accelsim.config.plan import SCHEMA, Plan, PlanEntry, PlanSections, entries_of
from accelsim.config.problems import Loc, dotted, shown
from accelsim.errors import InputError
from workloads.paths import from_folder

__all__ = ["Plan", "check_plans", "load_plan", "plan_from"]


def load_plan(path: str | Path) -> Plan:
    """Read and check a plan, YAML or JSON.

    Parameters
    ----------
    path : str or Path
        The file; the paths of strategies in it start from its folder.

    Returns
    -------
    Plan
        What it says.

    Raises
    ------
    InputError
        If anything is wrong; one line for each problem, with file, line and column.
    """
    path = Path(path)
    document = read_document(path)
    data = dict(document.data)
    _check_schema(document, data)
    sections = validated(document, PlanSections, data)
    gemms = document.data.get("gemms")
    for glob, entry in gemms.items() if isinstance(gemms, dict) else ():
        if isinstance(entry, dict) and "strategy" in entry:
            check_strategies(document, ("gemms", glob))
    document.raise_problems()
    assert sections is not None, "sections that are not valid have left a problem"
    folder = path.parent.resolve()
    return Plan(path, sections, tuple(_located(each, folder) for each in entries_of(sections)))


def plan_from(values: dict[str, Any], path: Path = Path("plan.yaml")) -> Plan:
    """Make a plan of the values that its file would have.

    Parameters
    ----------
    values : dict
        As `Plan.to_dict` returns them.
    path : Path
        What messages and labels call it.

    Raises
    ------
    InputError
        If they are no plan.
    """
    rest = {key: value for key, value in values.items() if key != "schema"}
    try:
        sections = PlanSections.model_validate(rest)
    except ValidationError as error:
        found = [f"{dotted(loc)}: {text}" for loc, text, _ in explained(PlanSections, error)]
        raise InputError("; ".join(found)) from error
    return Plan(path, sections, entries_of(sections))


def check_plans(document: Document, paths: Iterable[str], loc: Loc) -> list[Plan]:
    """Load the plans that a config names; problems go to `document`.

    Parameters
    ----------
    document : Document
        Relative paths start from its folder.
    paths : iterable of str
        Of the plans, as the config has them.
    loc : tuple
        Where their list stands.
    """
    plans = []
    for index, path in enumerate(paths):
        try:
            plans.append(load_plan(from_folder(document.path.parent, path)))
        except InputError as error:
            document.report((*loc, index), str(error))
    return plans


def _check_schema(document: Document, data: dict[str, Any]) -> None:
    """Take the version of the format out of `data`, and report one that is not known."""
    if "schema" not in data:
        document.report((), f"missing key 'schema'; expected {SCHEMA}, the version of the format")
        return
    found = data.pop("schema")
    if type(found) is not int or found < 1:
        document.report(("schema",), f"found {shown(found)}; expected {SCHEMA}")
    elif found > SCHEMA:
        message = f"found {found}, which is newer than {SCHEMA}, the newest that is known here"
        document.report(("schema",), f"{message}; use a newer accelsim")
        document.raise_problems()  # the rest may be right in that version


def _located(entry: PlanEntry, folder: Path) -> PlanEntry:
    """Have the path of an entry's strategy start from a folder."""
    if "strategy" not in entry.unpacking:
        return entry
    choice = entry.unpacking["strategy"]
    located = replace(choice, name=target(choice.name, folder))
    return replace(entry, unpacking={**entry.unpacking, "strategy": located})
