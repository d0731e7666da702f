"""Options that several commands have: formats, outputs, β."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from accelsim.errors import InputError
from accelsim.report.formats import FORMATS

Command = TypeVar("Command", bound=Callable[..., Any])

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the config; may be repeated.",
)
"""Adds ``--set`` to a command, which gets the values as `overrides`."""

gemm_option = click.option(
    "--gemm",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Only GEMMs whose names match; may be repeated.",
)
"""Adds ``--gemm`` to a command, which gets the values as `globs`."""

backend_option = click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Use these backends instead, such as 'emulator(bits=4)'; may be repeated.",
)
"""Adds ``--backend`` to a command, which gets the values as `backends`."""


cost_only_option = click.option(
    "--cost-only",
    is_flag=True,
    help="Count operations and costs; multiply nothing (product: none).",
)
"""Adds ``--cost-only`` to a command, which gets it as `cost_only`."""


def say_next(*commands: tuple[str, str]) -> None:
    """Print to stderr what to call next.

    Parameters
    ----------
    *commands : tuple of str
        A command line, and what it does.
    """
    width = max(len(line) for line, _ in commands)
    for index, (line, what) in enumerate(commands):
        click.echo(f"{'      ' if index else 'Next: '}{line:{width}}  {what}", err=True)


def refuse_given(names: Sequence[str], why: str) -> None:
    """Refuse options that the user has given.

    Parameters
    ----------
    names : sequence of str
        Of the command's parameters.
    why : str
        What the message says of them.

    Raises
    ------
    InputError
        If one of them stands in the command line.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise InputError(f"--{name}: {why}")


def format_option(what: str) -> Callable[[Command], Command]:
    """Add ``--format`` to a command, which gets it as `style`.

    Parameters
    ----------
    what : str
        What is printed, such as ``"the list"``.
    """
    return click.option(
        "--format",
        "style",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help=f"How to print {what}.",
    )


def output_option(what: str, required: bool = False) -> Callable[[Command], Command]:
    """Add ``-o`` and ``--output`` to a command, which gets the path as `output`.

    Parameters
    ----------
    what : str
        What is written there, with the default, such as ``"The page to write"``.
    required : bool
        Whether it must be given.
    """
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=required, help=f"{what}."
    )


def beta_option(default: Sequence[float]) -> Callable[[Command], Command]:
    """Add ``--beta``, which may be repeated, to a command, which gets it as `betas`.

    Parameters
    ----------
    default : sequence of float
        The values without it.
    """
    return click.option(
        "--beta",
        "betas",
        type=click.FloatRange(min=0, min_open=True),
        multiple=True,
        default=list(default),
        show_default=True,
        help="Rounding maps the percentile of the magnitudes to half of this; may be repeated.",
    )


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds options in their order.

    Parameters
    ----------
    *options : callable
        Decorators that add one option each.
    """

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


model_options = together(
    click.option("--gguf", metavar="FILE", help="The GGUF file in the folder MODEL."),
    click.option(
        "--text", type=click.Path(path_type=Path), help="A UTF-8 text for the model to read."
    ),
)
"""Adds ``--gguf`` and ``--text`` to a command that reads a language model."""

granularity_option = click.option(
    "--granularity",
    type=click.Choice(("tensor", "row")),
    default="row",
    show_default=True,
    help="One scale for a tensor, or one for each row.",
)
"""Adds ``--granularity``."""

rounding_options = together(
    click.option(
        "--percentile",
        type=click.FloatRange(0, 100, min_open=True),
        default=95.0,
        show_default=True,
        help="Which magnitude becomes beta / 2.",
    ),
    granularity_option,
)
"""Adds ``--percentile`` and ``--granularity`` to a command that rounds a model's operands."""

unpacking_options = together(
    click.option(
        "--strategy", default="block", show_default=True, help="How operands are unpacked."
    ),
    click.option(
        "--block",
        type=click.IntRange(min=1),
        default=16,
        show_default=True,
        help="Columns of a K-block.",
    ),
)
"""Adds ``--strategy`` and ``--block`` to a command that counts digits."""

run_folder_options = together(
    click.option("--resume", is_flag=True, help="Continue the run in the folder."),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder."),
)
"""Adds ``--resume`` and ``--overwrite`` to a command that makes records."""
