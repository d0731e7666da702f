"""``accelsim verify``: whether a backend does what it claims."""

from __future__ import annotations

import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from accelsim.cli import PROGRAM
from accelsim.cli.actions import ActionCommand, chosen, find_action, outcomes
from accelsim.cli.shared import format_option
from accelsim.cli.survivor import Survivor
from accelsim.errors import InputError, NothingCouldRunError
from accelsim.plugins.guest import guest
from accelsim.report.formats import Format


@click.command("verify", cls=ActionCommand)
@click.argument("backend", metavar="NAME")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the backend, such as bits=4; may be repeated.",
)
@click.option("--details", is_flag=True, help="Print what every check found, as a table.")
@format_option("the results")
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the results to this file as JUnit XML.",
)
def command(
    backend: str,
    options: tuple[str, ...],
    details: bool,
    style: Format,
    junit: Path | None,
    **flags: bool,
) -> int:
    """Check that the backend NAME computes and behaves as it claims.

    NAME is a backend's name or path/to/file.py:ClassName, with options if need be, such as
    'emulator(bits=4)'. It prints what failed and why, and names the rest; --details prints what
    every check found. Exit status: 0 if no check failed, 1 if
    one did, 3 if the backend cannot run on this machine.
    """
    survivor = Survivor()
    if click.get_current_context().find_root().obj == PROGRAM:
        import gemm_backends.conformance  # noqa: F401 - once, for every process

        status = survivor.fork()
        if status is not None:
            return status
        signal.signal(signal.SIGINT, signal.default_int_handler)

    from accelsim.report.checks import checks_table
    from accelsim.report.checks_brief import checks_brief
    from accelsim.unpack import split_options
    from gemm_backends import load_backend
    from gemm_backends.conformance import verify
    from gemm_backends.conformance.junit import write_junit

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
    checks = verify(
        subject,
        traceback.print_exception if debug else _ignore,
        survivor.kept(),
        survivor.note,
    )
    with guest():
        earlier = len(survivor.kept())
        found = []
        for number, outcome in enumerate(checks):
            found.append(outcome)
            if number >= earlier:
                survivor.keep(outcome)
        survivor.note("", "")
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)
        for action in actions:
            found += outcomes(action, subject)
    width = shutil.get_terminal_size().columns
    if style == "table" and not details:
        click.echo(checks_brief(subject, found, width), nl=False)
    else:
        click.echo(checks_table(subject, found, style, width), nl=False)
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
    from accelsim.config.problems import Place, config_error
    from accelsim.config.yaml_tree import parse_yaml

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
