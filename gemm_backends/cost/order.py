"""The order of tiles and the time of all: what a tile waits for is what its neighbours move.

With double buffers, DRAM takes the sums of the tile before and then brings the operands of the next
one while a tile is computed. So the time of a tile depends on three tiles; in each loop over them
only the first two turns, the last two and any one between can differ in that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gemm_backends.cost.options import MemorySystem

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]

Place = tuple[Integers, ...]
"""The turns of the loops, the outermost first, in which tiles are computed."""


class Moves(NamedTuple):
    """The bytes that tiles move.

    Parameters
    ----------
    dram, sram : tuple of ndarray
        A, B, sums that are read back and sums that are written: between DRAM and SRAM, and between
        SRAM and the array.
    during : ndarray
        Of those from and to DRAM, unfinished sums that their SRAM does not hold: they come and go
        while the tile is computed.
    ahead, behind : ndarray
        The others: before the tile begins, and after it ends.
    """

    dram: tuple[Floats, ...]
    sram: tuple[Floats, ...]
    ahead: Floats
    during: Floats
    behind: Floats


@dataclass(frozen=True)
class Order:
    """Tiles that stand for all, in nested loops, with their neighbours.

    Parameters
    ----------
    place : tuple of ndarray
        For each loop ``[3 tiles + 2, ...]``: where these tiles are, those after them, those before
        them, the first tile of all and the last one.
    count : ndarray
        ``[tiles, ...]``, for how many each stands.
    has_next, has_previous : ndarray
        Whether they are not the last, or the first, of all.
    """

    place: Place
    count: Integers
    has_next: Flags
    has_previous: Flags

    def summed(self, part: Floats) -> Floats:
        """Return the sum over all tiles of what is known at `place`."""
        return np.asarray((self.count * part[: len(self.count)]).sum(0))


def representatives(*turns: Integers) -> Order:
    """Choose tiles that stand for all of some nested loops, the outermost first.

    Parameters
    ----------
    *turns : ndarray
        How many turns each loop has, at least 1; the shapes are equal.
    """
    chosen = np.indices((5,) * len(turns)).reshape(len(turns), -1)
    place, count = [], np.ones_like(turns[0])
    for each, which in zip(turns, chosen, strict=True):
        index, alike = _of_loop(each)
        place.append(index[which])
        count = count * alike[which]
    return _ordered(tuple(place), count, turns)


def every(*turns: int) -> Order:
    """Take all tiles of some nested loops, one by one, the outermost loop first."""
    place = tuple(each.reshape(-1) for each in np.indices(turns))
    return _ordered(place, np.ones_like(place[0]), tuple(np.asarray(many) for many in turns))


def _of_loop(turns: Integers) -> tuple[Integers, Integers]:
    """Return five turns of a loop, and for how many each stands."""
    zero = np.zeros_like(turns)
    index = np.stack([zero, zero + 1, zero + 2, turns - 2, turns - 1])
    count = np.stack([turns >= 2, turns >= 4, turns - 4, turns >= 3, zero + 1]).clip(0)
    return np.minimum(index, turns - 1).clip(0), count


def _ordered(place: Place, count: Integers, turns: tuple[Integers, ...]) -> Order:
    after, has_next = _neighbours(place, turns, 1)
    before, has_previous = _neighbours(place, turns, -1)
    around = (
        np.concatenate([*three, np.zeros_like(many)[None], (many - 1)[None]])
        for *three, many in zip(place, after, before, turns, strict=True)
    )
    return Order(tuple(around), count, has_next, has_previous)


def _neighbours(place: Place, turns: tuple[Integers, ...], by: int) -> tuple[Place, Flags]:
    """Return the tiles just before (-1) or after (1) others, and where there is one."""
    moved: list[Integers] = []
    carry: Integers = np.full_like(place[-1], by)
    for index, many in zip(reversed(place), reversed(turns), strict=True):
        value = index + carry
        carry = (value >= many).astype(np.int64) - (value < 0)
        moved.append(value - carry * many)
    return tuple(reversed(moved)), carry == 0


def elapsed(order: Order, clocks: Floats, moves: Moves, memory: MemorySystem) -> Floats:
    """Return the clocks of all tiles, waiting included.

    Parameters
    ----------
    order : Order
        Tiles that stand for all.
    clocks : ndarray
        What the array takes for each of them.
    moves : Moves
        What the tiles of `order.place` move.
    memory : MemorySystem
        The memories.

    Notes
    -----
    With double buffers a tile begins when its operands are there and the one before is done. While
    it is computed, the sums of the one before leave, and then the operands of the next one come.
    What the first tile loads and the last one stores overlaps with nothing. Without double buffers
    nothing overlaps.

    Bytes are summed before they are divided by the bandwidth, so that whole clocks stay whole.
    """
    tiles = len(order.count)
    feeding = clocks
    if memory.sram_bandwidth is not None:
        a, b, back, out = (part[:tiles] for part in moves.sram)
        port = np.maximum(np.maximum(a, b), back + out)
        feeding = np.maximum(clocks, port / memory.sram_bandwidth)
    if memory.dram_bandwidth is None:
        return order.summed(feeding)
    if not memory.double_buffered:
        size = order.summed(moves.ahead + moves.during + moves.behind)
        return np.asarray(order.summed(feeding) + size / memory.dram_bandwidth)
    size = moves.during[:tiles]
    size = size + order.has_next * moves.ahead[tiles : 2 * tiles]
    size = size + order.has_previous * moves.behind[2 * tiles : 3 * tiles]
    late = size > feeding * memory.dram_bandwidth
    moving = order.summed(late * size) + moves.ahead[-2] + moves.behind[-1]
    return np.asarray(order.summed(~late * feeding) + moving / memory.dram_bandwidth)
