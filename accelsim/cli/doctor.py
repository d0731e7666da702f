"""``accelsim doctor``: what this machine can run, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from accelsim.cli.actions import ActionCommand, chosen
from accelsim.cli.shared import format_option
from accelsim.report.formats import Format

REMARKS = {
    "Backends": "native: its own unit multiplies; emulated: software stands in for it",
    "Extras": "optional: install what you need",
}
"""What stands beside the title of a table."""


@click.command("doctor", cls=ActionCommand)
@format_option("the findings")
def command(style: Format, **flags: bool) -> int:
    """Describe this machine, what can run on it, and what to install for the rest.

    Exit status: 1 if a step of a flag failed, else 0.
    """
    from accelsim.cli.doctor_sections import find_sections
    from accelsim.report.tables import render

    sections = find_sections(chosen(flags))
    if style == "table":
        _print_tables(sections)
    elif style in ("markdown", "latex"):
        drawn = [render(rows, format=style, title=title) for title, rows in sections.items()]
        click.echo("\n".join(drawn), nl=False)
    else:
        found = [{"section": title, **row} for title, rows in sections.items() for row in rows]
        click.echo(render(found, format=style), nl=False)
    return int(any(row.get("result") == "failed" for rows in sections.values() for row in rows))


def _print_tables(sections: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    for title, rows in sections.items():
        table = Table(*dict.fromkeys(key for row in rows for key in row))
        table.show_header = title != "This machine"
        for row in rows:
            table.add_row(*row.values())
        remark = f" ({REMARKS[title]})" if title in REMARKS else ""
        console.print(f"\n{title}{remark}")
        console.print(table)
