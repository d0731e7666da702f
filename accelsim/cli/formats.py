"""The option that says how to print rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from accelsim.report.tables import FORMATS

Command = TypeVar("Command", bound=Callable[..., Any])


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
