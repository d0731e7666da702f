"""Where the digits of an operand lie in its rows, and what K is made of.

A row holds tiles of 128 digits: the low ones; the high ones, first of the slots, then of the places
of the row's block, the highest digits first; and copies of low ones for the other operand's high
digits to be multiplied with, first for its slots, then for each of its blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gemm_backends.cuda.cutlass_library import HIGH_GROUPS, DigitGroups, Segment
from gemm_backends.cuda.fused.plan import BLOCK, TILE, Plan, Side

DIGIT_BITS = 8


@dataclass(frozen=True)
class Layout:
    """Tiles in a row of an operand.

    Parameters
    ----------
    low : int
        Tiles of low digits.
    own, other : Side
        What this operand and the other one need.
    slot_tiles : int
        Tiles of slots.
    other_blocks : int
        Blocks of rows that the other operand has.
    """

    low: int
    own: Side
    other: Side
    slot_tiles: int
    other_blocks: int

    @property
    def high_tiles(self) -> int:
        """Tiles of high digits."""
        return self.own.groups * (self.slot_tiles + self.own.place_tiles)

    @property
    def copies(self) -> int:
        """Where the copies begin."""
        return self.low + self.high_tiles

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

    def slot(self, level: int) -> int:
        """Return where the digits of a level (0: the low ones) for the slots begin."""
        if not level:
            return self.copies
        return self.low + (self.own.groups - level) * self.slot_tiles

    def place(self, level: int) -> int:
        """Return where the digits of a level for the places of a block, or the first, begin."""
        if not level:
            return self.copies + self.copied_slots
        high = self.low + self.own.groups * self.slot_tiles
        return high + (self.own.groups - level) * self.own.place_tiles


def layouts(plan: Plan, n: int, d: int, h: int) -> tuple[Layout, Layout]:
    """Return the layouts of A ``[n, d]`` and B ``[h, d]``."""
    low = math.ceil(d / TILE)
    return (
        Layout(low, plan.a, plan.b, plan.slot_tiles, math.ceil(h / BLOCK)),
        Layout(low, plan.b, plan.a, plan.slot_tiles, math.ceil(n / BLOCK)),
    )


def digit_groups(a: Layout, b: Layout) -> DigitGroups:
    """Return what K is made of: from the highest weight to the product of the low digits.

    Products of two high digits in places are no part of it, nor are those that weigh ``2**32`` or
    more: sums are modulo ``2**32``.
    """
    segments: list[Segment] = []
    high_tiles = []
    for weight in range(HIGH_GROUPS, 0, -1):
        found = list(_segments(a, b, weight))
        segments += found
        high_tiles.append(sum(segment.tiles for segment in found))
    segments.append(Segment(a.low, 0, 0))
    first, second, third = high_tiles
    return DigitGroups((first, second, third), DIGIT_BITS, segments)


def _segments(a: Layout, b: Layout, weight: int) -> list[Segment]:
    found = [
        Segment(a.slot_tiles, a.slot(level), b.slot(weight - level))
        for level in range(a.own.groups + 1)
        if 0 <= weight - level <= b.own.groups
    ]
    if weight <= a.own.groups:
        tiles = a.own.place_tiles
        found.append(Segment(tiles, a.place(weight), b.place(0), b_step=tiles))
    if weight <= b.own.groups:
        tiles = b.own.place_tiles
        found.append(Segment(tiles, a.place(0), b.place(weight), a_step=tiles))
    return [segment for segment in found if segment.tiles]
