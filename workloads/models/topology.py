"""SCALE-Sim's topologies: the GEMMs and convolutions of a network, as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from accelsim.errors import InputError
from workloads.models.layer import Layer

GEMM = ("m", "n", "k")
CONVOLUTION = (
    "layer name, IFMAP height, IFMAP width, filter height, filter width, channels, filters, stride"
)


def read_topology(path: Path) -> list[Layer]:
    """Read a topology.

    A line is ``name, M, N, K`` after a head with these names, or a convolution, which is the GEMM
    of its patches (rows of A) by its filters (rows of B).

    Raises
    ------
    InputError
        If it cannot be read, or a line is neither; the message has its number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    rows = [
        (number, [cell.strip() for cell in cells])
        for number, cells in enumerate(csv.reader(lines, skipinitialspace=True), start=1)
    ]
    rows = [(number, _filled(cells)) for number, cells in rows if any(cells)]
    if len(rows) < 2:
        raise InputError(f"{path}: expected a head and a line for each layer")
    is_gemm = tuple(cell.lower() for cell in rows[0][1][1:4]) == GEMM
    found, names = [], set()
    for number, cells in rows[1:]:
        where = f"{path}:{number}"
        layer = _gemm(where, cells) if is_gemm else _convolution(where, cells)
        if layer.name in names:
            raise InputError(f"{where}: layer {layer.name!r} appears twice; expected unique names")
        names.add(layer.name)
        found.append(layer)
    return found


def _filled(cells: Sequence[str]) -> list[str]:
    """Leave out the empty cell behind the comma at the end."""
    return list(cells[:-1] if not cells[-1] else cells)


def _gemm(where: str, cells: Sequence[str]) -> Layer:
    if len(cells) != 4:
        raise InputError(f"{where}: found {', '.join(cells)}; expected name, M, N, K")
    n, h, d = (_size(where, cell, "M, N and K") for cell in cells[1:4])
    return Layer(cells[0], "linear", 1, n, d, h)


def _convolution(where: str, cells: Sequence[str]) -> Layer:
    if len(cells) != 8:
        raise InputError(
            f"{where}: found {len(cells)} columns; expected a head 'Layer, M, N, K' with four, or "
            f"{CONVOLUTION}"
        )
    sizes = [_size(where, cell, "sizes") for cell in cells[1:8]]
    height, width, down, across, channels, filters, stride = sizes
    if down > height or across > width:
        raise InputError(f"{where}: a filter of {down}x{across} is larger than {height}x{width}")
    patches = (-(-(height - down) // stride) + 1) * (-(-(width - across) // stride) + 1)
    return Layer(cells[0], "linear", 1, patches, down * across * channels, filters)


def _size(where: str, cell: str, what: str) -> int:
    if not cell.isdecimal() or int(cell) < 1:
        message = f"found {cell!r}; expected {what} to be whole numbers, at least 1"
        raise InputError(f"{where}: {message}")
    return int(cell)
