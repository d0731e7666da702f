"""The command line: one file per command, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

import accelsim
from accelsim.errors import AccelsimError

COMMANDS = {
    "run": "run",
    "compare": "compare",
    "break-even": "break_even",
    "report": "report",
    "eval": "eval",
    "train": "train",
    "lm-eval": "lm_eval",
    "extract": "extract",
    "backends": "backends",
    "verify": "verify",
    "new-backend": "new_backend",
    "workloads": "workloads",
    "config": "config",
    "gpu": "gpu",
    "doctor": "doctor",
}
"""Command name to its module in this package; each module has a ``command``."""


class LazyGroup(click.Group):
    """A click group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"accelsim.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(accelsim.__version__, prog_name="accelsim")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Emulate and benchmark low-bit accelerators on the GEMMs of real Transformers.

    Exit status: 0 all ok; 1 a result was inexact, overflowed or failed; 2 the call or the config
    is wrong; 3 nothing could run.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and turn every error into one message and an exit status."""
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(args=_debug_first(arguments), standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("accelsim: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AccelsimError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"accelsim: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _debug_first(arguments: list[str]) -> list[str]:
    """Let ``--debug`` stand anywhere on the line."""
    rest = [argument for argument in arguments if argument != "--debug"]
    return ["--debug", *rest] if "--debug" in arguments else rest
