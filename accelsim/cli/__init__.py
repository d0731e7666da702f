"""The command line: one file per command, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

import accelsim
from accelsim.errors import AccelsimError, InputError, unknown_name

COMMANDS = {
    "run": ("run", "Run a config; print exactness, operation counts and times."),
    "compare": ("compare", "Put runs, and the backends in them, side by side."),
    "break-even": (
        "break_even",
        "Find the unpack ratio at which low-bit integers stop paying off.",
    ),
    "report": ("report", "Write one HTML page about runs."),
    "eval": ("eval", "Evaluate a model with integer GEMMs, over a sweep of roundings."),
    "train": ("train", "Train a model in floats and in integers."),
    "ratios": ("ratios", "Print the unpack ratios of trained models, by kind of GEMM."),
    "sensitivity": (
        "sensitivity",
        "Find the GEMMs of a model that need fine integers.",
    ),
    "ladder": ("ladder", "See the error of integers fall to float32's as β grows."),
    "tune": ("tune", "Find the cheapest plan that keeps the quality of a model."),
    "lm-eval": ("lm_eval", "Run lm-evaluation-harness on integer GEMMs."),
    "invariance": ("invariance", "Compare a model's bits over batches, padding, caches, backends."),
    "export": ("export", "Write GEMMs, before and after unpacking, for another tool."),
    "extract": ("extract", "Capture the GEMMs of a model into a bundle."),
    "backends": ("backends", "List the backends, and whether each can run here."),
    "verify": ("verify", "Check that a backend computes and behaves as it claims."),
    "new-backend": ("new_backend", "Write a package with a backend."),
    "workloads": ("workloads", "List workloads; show their GEMMs and heavy hitters; fetch models."),
    "config": ("config", "Help with writing configs."),
    "doctor": ("doctor", "Describe this machine and what can run on it."),
}
"""Command name to its module in this package, which has a ``command``, and its summary."""

PROGRAM = "program"
"""The context's object where this process does nothing but the command, and so may fork."""


class LazyGroup(click.Group):
    """A click group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"accelsim.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or list all."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise InputError(unknown_name("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(accelsim.__version__, "-V", "--version", prog_name="accelsim")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Emulate and benchmark low-bit accelerators on the GEMMs of real Transformers.

    Exit status: 0 all ok; 1 a result was inexact, overflowed or failed; 2 the call or the config
    is wrong; 3 nothing could run.

    Terms such as beta, unpack ratio and heavy hitter are explained in docs/glossary.md, which is
    part of the repository.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and turn every error into one message and an exit status."""
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    try:
        caller = PROGRAM if args is None else None
        result: Any = cli.main(
            _debug_first(arguments), "accelsim", standalone_mode=False, obj=caller
        )
    except click.exceptions.Abort:
        click.echo("accelsim: interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        see = f" (see {context.command_path} --help)" if context is not None else ""
        click.echo(f"accelsim: {error.format_message()}{see}", err=True)
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
    """Accept ``--debug`` anywhere on the line."""
    rest = [argument for argument in arguments if argument != "--debug"]
    return ["--debug", *rest] if "--debug" in arguments else rest
