"""``accelsim backends``: the backends, and which of them can run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.shared import format_option
from accelsim.report.formats import Format

if TYPE_CHECKING:
    from gemm_backends.survey import Surveyed

COLUMNS = ("name", "available", "execution", "device", "bits", "accumulator", "reason")

EXECUTIONS = """\
execution  native: the unit that the backend is about multiplies. emulated: something
           else stands in for it, a model in software or plain integer arithmetic, so
           that its times say nothing about hardware. fallback: slower instructions.
bits       the widest digits that it multiplies"""


@click.command()
@format_option("the list")
def command(style: Format) -> None:
    """List the backends, whether each can run on this machine, and why not.

    Backends that cannot be loaded are listed with their error.
    """
    from accelsim.report.tables import render
    from gemm_backends.survey import survey

    click.echo(render([_row(surveyed) for surveyed in survey()], COLUMNS, style), nl=False)
    if style == "table":
        click.echo(f"\n{EXECUTIONS}")


def _row(surveyed: Surveyed) -> dict[str, Any]:
    backend, availability = surveyed.backend, surveyed.availability
    if backend is None or availability is None:
        broken = {"name": surveyed.name, "available": "broken", "reason": surveyed.error}
        return dict.fromkeys(COLUMNS) | broken
    a, b = backend.operand_bits
    return {
        "name": surveyed.name,
        "available": "yes" if availability.available else "no",
        "execution": availability.execution if availability.available else None,
        "device": availability.device,
        "bits": str(a) if a == b else f"{a} x {b}",
        "accumulator": f"{backend.accumulator.bits}-bit {backend.accumulator.overflow}",
        "reason": availability.reason,
    }
