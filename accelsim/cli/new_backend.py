"""``accelsim new-backend``: write a new package with a backend, ready to install."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.shared import output_option
from accelsim.plugins.scaffold import KINDS, write_package


@click.command("new-backend")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="python",
    show_default=True,
    help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + ".",
)
@output_option("The folder to write, which must not exist or be empty [default: NAME]")
def command(name: str, kind: str, output: Path | None) -> None:
    """Write a package with a backend called NAME.

    NAME is of lower-case letters and digits, words joined by hyphens, such as my-array. The package
    can be installed as it is; its tests are the conformance kit.
    """
    from gemm_backends import list_backends

    folder = output or Path(name)
    for path in write_package(name, kind, folder, list_backends()):
        click.echo(folder / path)
    click.echo(
        f"\nNext:\n"
        f"  pip install -e '{folder}[test]'\n"
        f"  pytest -q {folder}\n"
        f"  accelsim verify {name}",
        err=True,
    )
