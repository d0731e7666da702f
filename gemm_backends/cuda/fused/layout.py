"""The layout of digits in an operand's rows, and the groups of digits in K.

A row holds tiles of 128 digits: planes, which have a digit of every entry, the low ones first;
high digits, first of the slots, then of the places of the row's block, the highest ones first; and
copies of low digits for the other operand's high ones to be multiplied with, first for its slots,
then for each of its blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gemm_backends.cuda.cutlass_library import HIGH_GROUPS, SEGMENTS, DigitGroups, TileRun
from gemm_backends.cuda.fused.plan import BLOCK, TILE, Columns, Side

DIGIT_BITS = 8

LONGEST_K = ((1 << 31) - 1) // (1 << 14) // TILE
"""Tiles of K whose products of two 8-bit digits certainly fit 32 bits."""

NOTHING = Side(groups=0, place_tiles=0, threshold=1, list_length=0)


@dataclass(frozen=True)
class Layout:
    """Tiles in a row of an operand.

    Parameters
    ----------
    low : int
        Tiles of a plane.
    planes : int
        Planes: digits of every entry.
    own, other : Side
        Further needs of this operand and of the other one.
    slot_tiles : int
        Tiles of slots.
    other_blocks : int
        Blocks of rows that the other operand has.
    """

    low: int
    planes: int = 1
    own: Side = NOTHING
    other: Side = NOTHING
    slot_tiles: int = 0
    other_blocks: int = 0

    @property
    def high(self) -> int:
        """Where the high digits of slots and places begin."""
        return self.planes * self.low

    @property
    def high_tiles(self) -> int:
        """Tiles of high digits of slots and places."""
        return self.own.groups * (self.slot_tiles + self.own.place_tiles)

    @property
    def copies(self) -> int:
        """Where the copies begin."""
        return self.high + self.high_tiles

    @property
    def copied_slots(self) -> int:
        """Tiles of copies for the other operand's slots."""
        return self.slot_tiles if self.other.groups else 0

    @property
    def copied_tiles(self) -> int:
        """Tiles of copies."""
        return self.copied_slots + self.other_blocks * self.other.place_tiles

    @property
    def tiles(self) -> int:
        """All tiles of a row."""
        return self.copies + self.copied_tiles

    def plane(self, level: int) -> int:
        """Return where the plane of a level begins; level 0 has the low digits."""
        return level * self.low

    def slot(self, level: int) -> int:
        """Return where the digits of a level (0: the low ones) for the slots begin."""
        if not level:
            return self.copies
        return self.high + (self.own.groups - level) * self.slot_tiles

    def place(self, level: int) -> int:
        """Return where the digits of a level for the places of a block, or the first, begin."""
        if not level:
            return self.copies + self.copied_slots
        places = self.high + self.own.groups * self.slot_tiles
        return places + (self.own.groups - level) * self.own.place_tiles


def layouts(
    plan: Columns, n: int, d: int, h: int, planes: tuple[int, int] = (1, 1)
) -> tuple[Layout, Layout]:
    """Return the layouts of A ``[n, d]`` and B ``[h, d]`` for a plan with slots and places."""
    low = math.ceil(d / TILE)
    return (
        Layout(low, planes[0], plan.a, plan.b, plan.slot_tiles, math.ceil(h / BLOCK)),
        Layout(low, planes[1], plan.b, plan.a, plan.slot_tiles, math.ceil(n / BLOCK)),
    )


def column_groups(a: Layout, b: Layout) -> DigitGroups:
    """Return the groups of K with slots and places: from the highest weight to the low digits.

    Products of two high digits in places are not part of it, nor are those of weight ``2**32`` or
    more: sums are modulo ``2**32``.
    """
    weights = [list(_column_segments(a, b, weight)) for weight in range(HIGH_GROUPS, 0, -1)]
    return _groups([*weights, [TileRun(a.low, 0, 0)]])


def plane_groups(a: Layout, b: Layout, digits: tuple[int, int]) -> DigitGroups:
    """Return the groups of K for numbers of planes of A and of B, modulo ``2**32``."""
    return _groups([plane_segments(a, b, digits, weight) for weight in range(HIGH_GROUPS, -1, -1)])


def plane_segments(a: Layout, b: Layout, digits: tuple[int, int], weight: int) -> list[TileRun]:
    """Return the pairs of planes whose products weigh ``2**(8*weight)``."""
    return [
        TileRun(a.low, a.plane(level), b.plane(weight - level))
        for level in range(digits[0])
        if 0 <= weight - level < digits[1]
    ]


def slices(segments: list[TileRun]) -> Iterator[DigitGroups]:
    """Cut segments of one weight into products whose sums certainly fit 32 bits."""
    taken: list[TileRun] = []
    room = LONGEST_K
    for segment in segments:
        done = 0
        while done < segment.tiles:
            tiles = min(room, segment.tiles - done)
            taken.append(TileRun(tiles, segment.a + done, segment.b + done))
            done, room = done + tiles, room - tiles
            if not room or len(taken) == SEGMENTS:
                yield _groups([[], [], [], taken])
                taken, room = [], LONGEST_K
    if taken:
        yield _groups([[], [], [], taken])


def _groups(weights: list[list[TileRun]]) -> DigitGroups:
    """Return the groups of K; `weights` has the segments of each weight, the highest first."""
    first, second, third, _ = (sum(segment.tiles for segment in found) for found in weights)
    return DigitGroups((first, second, third), DIGIT_BITS, [s for found in weights for s in found])


def _column_segments(a: Layout, b: Layout, weight: int) -> Iterator[TileRun]:
    found = [
        TileRun(a.slot_tiles, a.slot(level), b.slot(weight - level))
        for level in range(a.own.groups + 1)
        if 0 <= weight - level <= b.own.groups
    ]
    if weight <= a.own.groups:
        tiles = a.own.place_tiles
        found.append(TileRun(tiles, a.place(weight), b.place(0), b_step=tiles))
    if weight <= b.own.groups:
        tiles = b.own.place_tiles
        found.append(TileRun(tiles, a.place(0), b.place(weight), a_step=tiles))
    return (segment for segment in found if segment.tiles)
