"""``accelsim verify``: whether a backend does what it claims."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import track

from accelsim.cli.actions import ActionCommand, chosen, find_action, outcomes
from accelsim.cli.shared import format_option
from accelsim.config.problems import Place, config_error
from accelsim.config.yaml_tree import parse_yaml
from accelsim.errors import InputError, NothingCouldRunError
from accelsim.plugins.guest import guest
from accelsim.report.tables import Format, render
from accelsim.unpack import split_options
from gemm_backends import GemmBackend, Outcome, load_backend
from gemm_backends.conformance import CHECKS, routes, verify
from gemm_backends.conformance.junit import write_junit
from gemm_backends.types import Status

_WIDE = 120
"""Terminal width from which on the table describes each check."""

ROUTE_CHECKS = {check.name for check in routes.CHECKS}
TITLES = {check.name: check.title for check in CHECKS}


@click.command("verify", cls=ActionCommand)
@click.argument("backend", metavar="NAME")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the backend, such as bits=4; may be repeated.",
)
@format_option("the results")
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the results to this file as JUnit XML.",
)
def command(
    backend: str,
    options: tuple[str, ...],
    style: Format,
    junit: Path | None,
    **flags: bool,
) -> int:
    """Check that the backend NAME computes and behaves as it claims.

    NAME is a backend's name or path/to/file.py:ClassName, with options if need be, such as
    'emulator(bits=4)'. Exit status: 0 if no check failed, 1 if
    one did, 3 if the backend cannot run on this machine.
    """
    if junit is not None and not junit.parent.is_dir():
        raise InputError(f"cannot write {junit}: there is no folder {junit.parent}")
    name, named = split_options(backend)
    subject = load_backend(name, **named | dict(map(parsed_option, options)))
    actions = [find_action(type(subject), "verify", flag) for flag in chosen(flags)]
    for action in actions:
        if lacking := action.lacks():
            raise InputError(f"--{action.flag} cannot run: {lacking}")
    availability = subject.status()
    if not availability.available:
        raise NothingCouldRunError(f"{subject.name} cannot run here: {availability.reason}")
    debug = bool(click.get_current_context().find_root().params.get("debug"))
    checks = track(
        verify(subject, traceback.print_exception if debug else _ignore),
        description=f"checking {subject.name}",
        total=len(CHECKS),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with guest():
        found = list(checks)
        for action in actions:
            found += outcomes(action, subject)
    rows = [_row(outcome) for outcome in (_folded(found) if style == "table" else found)]
    width = shutil.get_terminal_size().columns
    columns = [name for name in rows[0] if name != "what_must_hold" or width >= _WIDE]
    shown = columns if style == "table" else None
    table = render(rows, shown, style, labels=len(columns), width=width)
    click.echo(_explained(subject, found, table) if style == "table" else table, nl=False)
    if junit is not None:
        write_junit(junit, f"accelsim verify {backend}", found)
    return int(any(outcome.status == "failed" for outcome in found))


def parsed_option(option: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``, with the value in YAML as a config has it.

    Raises
    ------
    InputError
        If it is not of this form.
    """
    key, equals, value = option.partition("=")
    if not key or not equals:
        raise InputError(f"--option needs KEY=VALUE, got {option!r}")
    place = Place(0, 0, 0, f"--option {option}")
    tree = parse_yaml(value, lambda line, column: place)
    if tree.problems:
        raise config_error(tree.problems)
    return key, tree.data


def _ignore(error: BaseException) -> None:
    pass


def _folded(found: Sequence[Outcome]) -> list[Outcome]:
    """Put the checks of fused routes on one line if all are skipped for one reason."""
    of_routes = [outcome for outcome in found if outcome.name in ROUTE_CHECKS]
    if not of_routes or {(outcome.status, outcome.detail) for outcome in of_routes} != {
        ("skipped", of_routes[0].detail)
    }:
        return list(found)
    whole = Outcome(
        f"route_* ({len(of_routes)})",
        "skipped",
        of_routes[0].detail,
        sum(outcome.seconds for outcome in of_routes),
    )
    first = found.index(of_routes[0])
    rest = [outcome for outcome in found[first:] if outcome not in of_routes]
    return [*found[:first], whole, *rest]


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "check": outcome.name,
        "what_must_hold": TITLES.get(outcome.name, ""),
        "result": outcome.status,
        "found": outcome.detail,
        "ms": outcome.seconds * 1e3,
    }


def _explained(backend: GemmBackend, found: Sequence[Outcome], table: str) -> str:
    """Put what was checked above the table, and the failures and the counts below it."""
    settings = ", ".join(f"{key}={value}" for key, value in backend.options.items())
    a, b = backend.operand_bits
    accumulator = backend.accumulator
    parts = [
        f"{backend.name}({settings}): {a} x {b} bits, "
        f"{accumulator.bits}-bit accumulator, overflow: {accumulator.overflow}\n",
        table,
    ]
    for outcome in found:
        if outcome.status == "failed":
            title = f": {TITLES[outcome.name]}" if outcome.name in TITLES else ""
            parts.append(f"{outcome.name} failed{title}\n  {outcome.detail}\n")
    statuses = [outcome.status for outcome in found]
    counts = [f"{statuses.count(status)} {status}" for status in get_args(Status)]
    return "\n".join([*parts, ", ".join(counts) + "\n"])
