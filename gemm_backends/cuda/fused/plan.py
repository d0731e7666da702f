"""The layout of the high digits of a GEMM's operands, decided from the integers of a run.

A plan is a set of bounds for the kernels. Every run checks on the device whether they sufficed; if
not, the run is repeated with another plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import round_up
from accelsim.types import PerOperand

TILE = 128
BLOCK = 256
"""Rows of an operand that share the columns of high digits that are not slots."""

TILE_OF_C = 128, 256
"""Rows and columns of a tile of C, whose products of two high parts are listed together."""

SHARE_OF_ROWS = 64
"""A column with high parts in one row of this many gets a column of high digits in all rows."""

MOST_CROSS = 64
"""The most products of two high parts that a column of K may add to those listed."""

DENSE_SHARE = 4
"""A column with high parts in one row of this many is found by examining a few rows."""

SURVEYED_FROM = 1 << 18
"""From this many high parts on, surveying the columns first is cheaper than listing them."""

LONGEST_LIST = 2048
LONGEST_CROSS = 256
SHORTEST_LIST = 16

MOST_LISTED = (1 << 31) - 1
"""Entries in all lists of an operand, which 32-bit numbers count."""


@dataclass(frozen=True)
class Side:
    """The needs of one operand.

    Parameters
    ----------
    groups : int
        Digits of its high parts; 0 if it has none.
    place_tiles : int
        Tiles of 128 columns of high digits for each block of rows.
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
class Columns:
    """A plan with columns of high digits: slots for heavy columns, places for the others.

    Parameters
    ----------
    a, b : Side
        What each operand needs.
    slot_tiles : int
        Tiles of 128 columns of high digits for heavy columns: the same ones in all rows.
    threshold_product : int
        A column of K is heavy, too, if its high parts in A times those in B reach this number.
    cross_length : int
        The most products of two high parts, outside the heavy columns, in a tile of C. It is 0
        only where one of the operands has no places, so that there cannot be any.
    surveyed : bool
        Whether columns that are heavy throughout are looked for in a few rows, before an operand is
        split.
    slots : tuple of int or None
        The columns that have slots; None where every run chooses them.
    """

    a: Side
    b: Side
    slot_tiles: int
    threshold_product: int
    cross_length: int
    surveyed: bool
    slots: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Dense:
    """A plan with planes: the same number of digits for every entry.

    Parameters
    ----------
    a, b : int
        Digits of A and of B.
    wide : bool
        Whether sums have 64 bits: a GEMM for every weight, and K cut where 32 bits could overflow.
    """

    a: int
    b: int
    wide: bool = False


@dataclass(frozen=True)
class Few:
    """A plan for few rows of A, whose digits are stacked, by a prepared B.

    Parameters
    ----------
    a : int
        Digits of A.
    """

    a: int


Plan: TypeAlias = Columns | Dense | Few

PLANES_BEHIND = 2
"""Digits of a new operand that the dense product behind the gate of a CUDA graph takes."""


def high_parts(integers: Tensor) -> Tensor:
    """Return the high part above the low 8-bit digit: ``v = low + 256 * high``."""
    return (integers + 128) >> 8


def plan_columns(
    a: Tensor,
    b: Tensor,
    prepared: PerOperand[bool],
    slack: int = 1,
    fixed_slots: tuple[int, ...] | None = None,
) -> Columns | None:
    """Choose slots and places for operands like these.

    Parameters
    ----------
    a, b : Tensor
        The integers of A ``[n, d]`` and of B ``[h, d]``, int32, magnitudes below 2^31 - 128.
    prepared : PerOperand of bool
        Whether each operand is the same in all runs.
    slack : int
        How much more room than usual an operand gets that is not.
    fixed_slots : tuple of int, optional
        Columns of earlier plans with slots in all runs; given, this plan has such slots as well.

    Returns
    -------
    Columns or None
        None where a high part has more than two digits, or a row too many of them to be listed.
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
    chosen = None
    if fixed_slots is not None:
        chosen = _fixed_slots(heavy, counts_a, fixed_slots)
        heavy[torch.tensor(chosen, dtype=torch.int64, device=heavy.device)] = True
    dense = torch.zeros_like(heavy)
    if not prepared.a:
        dense |= counts_a * DENSE_SHARE >= len(a)
    if not prepared.b:
        dense |= counts_b * DENSE_SHARE >= len(b)
    ahead = sum(
        int(counts[dense].sum())
        for counts, fixed in ((counts_a, prepared.a), (counts_b, prepared.b))
        if not fixed
    )
    surveyed = ahead >= SURVEYED_FROM and chosen is None
    slots = int(heavy.sum())
    fixed = all(
        is_fixed or not counts.any()
        for counts, is_fixed in ((counts_a, prepared.a), (counts_b, prepared.b))
    )
    room = slots if fixed or chosen is not None else slots * (3 + slack) // 3
    sides = []
    for high, threshold, is_fixed in (
        (high_a, threshold_a, prepared.a),
        (high_b, threshold_b, prepared.b),
    ):
        listed = None
        if not is_fixed and (chosen is not None or surveyed):
            listed = ~dense if chosen is None else ~heavy
        sides.append(_side(high, heavy, threshold, is_fixed, slack, listed))
    side_a, side_b = sides
    if side_a is None or side_b is None:
        return None
    meet = side_a.place_tiles > 0 and side_b.place_tiles > 0
    return Columns(
        a=side_a,
        b=side_b,
        slot_tiles=min(_tiles(room), _tiles(a.shape[1])),
        threshold_product=threshold_product,
        cross_length=round_up(max(2 * cross * slack, SHORTEST_LIST), 16) if meet else 0,
        surveyed=surveyed,
        slots=chosen,
    )


def _fixed_slots(heavy: Tensor, counts: Tensor, known: tuple[int, ...]) -> tuple[int, ...]:
    """Return the columns with slots in all runs: the known ones if they do, and whole tiles.

    Columns with the most high parts fill the last tile up: in other runs they may have more.
    """
    needed = heavy.nonzero().flatten().tolist()
    if set(needed) <= set(known) and len(known) <= TILE * _tiles(len(needed)):
        return known
    room = min(TILE * _tiles(len(needed)), len(heavy))
    order = counts.masked_fill(heavy, 0).argsort(descending=True, stable=True)
    order = order[: room - len(needed)]
    others = order[counts[order] > 0].tolist()
    return (*needed, *others)


def _side(
    high: Tensor, heavy: Tensor, threshold: int, fixed: bool, slack: int, listed: Tensor | None
) -> Side | None:
    """Leave room for what differs in other runs, unless the operand is `fixed`.

    `listed` are the columns whose high parts are listed; None: all of them.
    """
    low, largest = (int(extreme) for extreme in high.aminmax())
    largest = max(-low, largest)
    if largest >= 1 << 15:
        return None
    present = high != 0
    fullest = int((present if listed is None else present[:, listed]).sum(dim=1).max())
    wanted = fullest if fixed else min(2 * slack * fullest, 2 * LONGEST_LIST)
    length = max(SHORTEST_LIST, round_up(wanted, 8))
    if fullest > LONGEST_LIST or len(high) * length > MOST_LISTED:
        return None
    light = present[:, ~heavy]
    columns = max(
        (int(block.any(dim=0).sum()) for block in torch.split(light, BLOCK)),
        default=0,
    )
    spare = 0.0 if fixed else 2.0 * slack * math.sqrt(columns)
    return Side(
        groups=0 if not largest else 1 if largest < 96 or (fixed and largest < 127) else 2,
        place_tiles=min(_tiles(columns + spare), _tiles(high.shape[1])),
        threshold=threshold,
        list_length=length,
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
