"""Which shapes and kernels a GEMM on the GPU needs, decided ahead from a sample of its operands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.errors import DataError

TILE = 128
BLOCK = 256
"""Rows of an operand that share the columns of high digits that are not slots."""

TILE_OF_C = 128, 256
"""Rows and columns of a tile of C, whose products of two high parts are listed together."""

SHARE_OF_ROWS = 64
"""A column with high parts in one row of this many is worth a column of high digits in all."""

MOST_CROSS = 64
"""The most products of two high parts that a column of K may add to those listed."""

DENSE_SHARE = 4
"""A column with high parts in one row of this many is found by looking at a few rows."""

SURVEYED_FROM = 1 << 18
"""So many high parts in such columns take longer to list than to look for the columns first."""

LONGEST_LIST = 2048
LONGEST_CROSS = 256


@dataclass(frozen=True)
class Side:
    """What one operand needs.

    Parameters
    ----------
    groups : int
        Digits of its high parts; 0 if it has none.
    place_tiles : int
        Tiles of 128 columns of high digits that each block of rows has for itself.
    threshold : int
        High parts that make a column heavy.
    list_length : int
        The most high parts of a row.
    """

    groups: int
    place_tiles: int
    threshold: int
    list_length: int


@dataclass(frozen=True)
class Plan:
    """Sizes that bound what a pipeline may meet.

    Parameters
    ----------
    a, b : Side
        What each operand needs.
    slot_tiles : int
        Tiles of 128 columns of high digits for heavy columns: the same ones in all rows.
    threshold_product : int
        A column of K is heavy, too, if its high parts in A times those in B are so many.
    cross_length : int
        The most products of two high parts, outside the heavy columns, in a tile of C.
    surveyed : bool
        Whether columns that are heavy throughout are looked for in a few rows, before an operand is
        split.
    """

    a: Side
    b: Side
    slot_tiles: int
    threshold_product: int
    cross_length: int
    surveyed: bool


def high_parts(integers: Tensor) -> Tensor:
    """Return what is left above the low 8-bit digit: ``v = low + 256 * high``."""
    return (integers + 128) >> 8


def make_plan(a: Tensor, b: Tensor, prepared: bool) -> Plan:
    """Choose the sizes for operands like these.

    Parameters
    ----------
    a, b : Tensor
        The integers of A ``[n, d]`` and of B ``[h, d]``, int32.
    prepared : bool
        Whether B is this very one.

    Raises
    ------
    DataError
        If an entry has more than three digits, or a row too many entries of more than one.
    """
    high_a, high_b = high_parts(a), high_parts(b)
    present_a, present_b = high_a != 0, high_b != 0
    counts_a, counts_b = present_a.sum(dim=0), present_b.sum(dim=0)
    threshold_a, threshold_b = (max(4, len(x) // SHARE_OF_ROWS) for x in (a, b))
    if not counts_b.any() and int((counts_a > 0).sum()) <= 3 * TILE // 2:
        threshold_a = 1
    threshold_product, cross = 2 * MOST_CROSS, LONGEST_CROSS + 1
    while cross > LONGEST_CROSS:
        threshold_product //= 2
        heavy = (counts_a >= threshold_a) | (counts_b >= threshold_b)
        heavy |= counts_a * counts_b >= threshold_product
        cross = _most_cross(present_a[:, ~heavy], present_b[:, ~heavy])
    dense = counts_a * DENSE_SHARE >= len(a)
    if not prepared:
        dense |= counts_b * DENSE_SHARE >= len(b)
    ahead = int(counts_a[dense].sum()) + (0 if prepared else int(counts_b[dense].sum()))
    surveyed = ahead >= SURVEYED_FROM
    slots = int(heavy.sum())
    room = slots if prepared and not counts_a.any() else slots * 4 // 3
    return Plan(
        a=_side("A", high_a, heavy, threshold_a, 2.0, ~dense if surveyed else None),
        b=_side(
            "B",
            high_b,
            heavy,
            threshold_b,
            0.0 if prepared else 2.0,
            ~dense if surveyed and not prepared else None,
        ),
        slot_tiles=min(_tiles(room), _tiles(a.shape[1])),
        threshold_product=threshold_product,
        cross_length=_up(2 * cross, 16),
        surveyed=surveyed,
    )


def _side(
    name: str, high: Tensor, heavy: Tensor, threshold: int, slack: float, listed: Tensor | None
) -> Side:
    """Leave room for a number of columns in a block that is `slack` times its root larger.

    `listed` are the columns whose high parts are listed; None: all of them.
    """
    largest = int(high.abs().max())
    if largest >= 1 << 15:
        raise DataError(
            f"an entry of {name} reaches {largest << 8}, and the GPU pipeline has three 8-bit "
            "digits; choose a smaller beta or a higher percentile"
        )
    present = high != 0
    fullest = int((present if listed is None else present[:, listed]).sum(dim=1).max())
    if fullest > LONGEST_LIST:
        raise DataError(
            f"a row of {name} has {fullest} entries beyond 8 bits, and the GPU pipeline lists at "
            f"most {LONGEST_LIST}; choose a smaller beta or a higher percentile"
        )
    light = present[:, ~heavy]
    columns = max(
        (int(block.any(dim=0).sum()) for block in torch.split(light, BLOCK)),
        default=0,
    )
    return Side(
        groups=0 if not largest else 1 if largest < 96 else 2,
        place_tiles=min(_tiles(columns + slack * math.sqrt(columns)), _tiles(high.shape[1])),
        threshold=threshold,
        list_length=max(16, _up(2 * fullest, 8)),
    )


def _most_cross(present_a: Tensor, present_b: Tensor) -> int:
    """Return the most products of two high parts in a tile of C."""
    if not present_a.any() or not present_b.any():
        return 0
    rows, columns = (
        torch.stack([part.sum(dim=0) for part in torch.split(present.to(torch.float64), size)])
        for present, size in zip((present_a, present_b), TILE_OF_C, strict=True)
    )
    return int((rows @ columns.T).max())


def _tiles(columns: float) -> int:
    return math.ceil(columns / TILE)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
