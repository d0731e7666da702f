"""Clock cycles of a GEMM on a systolic array."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Count = TypeVar("Count", int, npt.NDArray[np.int64])
"""A whole number, or an array of such."""

Dataflow: TypeAlias = Literal["output-stationary", "weight-stationary", "input-stationary"]
"""The data that stays in place in the array: the sums of C, the digits of B, or those of A."""

SOURCE = (
    "A. Samajdar et al., A Systematic Methodology for Characterizing Scalability of DNN "
    "Accelerators using SCALE-Sim, ISPASS 2020"
)
"""The source of the formulas."""


def cycles(
    dataflow: Dataflow, rows: int, columns: int, n: Count, steps: Count, h: Count, drain: bool
) -> Count:
    """Count the clocks of ``[n, k] x [h, k] -> [n, h]``, one tile of the array after another.

    Parameters
    ----------
    dataflow : {"output-stationary", "weight-stationary", "input-stationary"}
        What stays in place.
    rows, columns : int
        R and C.
    n, h : int or ndarray
        Rows of A and of B.
    steps : int or ndarray
        Clocks that a place takes for a sum over k: k itself, or fewer if every place adds several
        products at once.
    drain : bool
        For the output-stationary array, whether sums leave through the array, row by row, before
        the next tile begins; otherwise all are read at once. In the two others they leave while
        the tile runs.

    Returns
    -------
    int or ndarray
        Zero if a dimension is zero.

    Notes
    -----
    With ``ceil(n / R) * ceil(h / C)`` tiles of ``R + C + k - 2`` clocks (``2 R + C + k - 2`` with
    the drain), ``ceil(k / R) * ceil(h / C)`` of ``2 R + C + n - 2`` and
    ``ceil(k / R) * ceil(n / C)`` of ``2 R + C + h - 2``, these are the formulas of SCALE-Sim
    (`SOURCE`). The first is what the array in SystemVerilog takes.
    """
    if dataflow == "output-stationary":
        down, across, streamed = n, h, steps
    elif dataflow == "weight-stationary":
        down, across, streamed = steps, h, n
    else:
        down, across, streamed = steps, n, h
    tiles = -(-down // rows) * -(-across // columns)
    moved = dataflow != "output-stationary" or drain  # R clocks to load or to read a tile
    clocks: Count = tiles * (streamed > 0) * (rows * (1 + moved) + columns + streamed - 2)
    return clocks
