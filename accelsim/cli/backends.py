"""``accelsim backends``: which accelerators there are, and which can run here."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from gemm_backends.survey import Surveyed, survey

Row = dict[str, Any]

COLUMNS = ("name", "available", "execution", "device", "bits", "accumulator", "reason")


@click.command()
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv", "markdown"]),
    default="table",
    help="How to print the list.",
)
def command(style: str) -> None:
    """List the backends, whether each can run on this machine, and why not.

    Backends that cannot be loaded are listed with their error.
    """
    rows = [_row(surveyed) for surveyed in survey()]
    if style == "table":
        _print_table(rows)
    else:
        click.echo({"json": _json, "csv": _csv, "markdown": _markdown}[style](rows))


def _row(surveyed: Surveyed) -> Row:
    backend, availability = surveyed.backend, surveyed.availability
    if backend is None or availability is None:
        return dict.fromkeys(COLUMNS) | {
            "name": surveyed.name,
            "available": "broken",
            "reason": surveyed.error,
        }
    a, b = backend.operand_bits
    return {
        "name": surveyed.name,
        "available": "yes" if availability.available else "no",
        "execution": availability.execution,
        "device": availability.device,
        "bits": a if a == b else {"a": a, "b": b},
        "accumulator": f"{backend.accumulator.bits}-bit {backend.accumulator.overflow}",
        "reason": availability.reason,
    }


def _texts(row: Row) -> list[str]:
    bits = row["bits"]
    shown = {**row, "bits": f"{bits['a']} x {bits['b']}" if isinstance(bits, dict) else bits}
    return ["" if shown[column] is None else str(shown[column]) for column in COLUMNS]


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*_texts(row))
    terminal = sys.stdout.isatty()
    Console(markup=False, highlight=False, width=None if terminal else 10_000).print(table)


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(rows, indent=2)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_texts(row) for row in rows)
    return text.getvalue().rstrip("\n")


def _markdown(rows: Sequence[Row]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_texts, rows)]
    return "\n".join(
        "| " + " | ".join(x.replace("|", "\\|") for x in line) + " |" for line in lines
    )
