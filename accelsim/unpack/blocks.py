"""K-blocks: the columns that are multiplied together, and the lines of high digits in them.

A line (one digit level of one row) costs a slot, `t` columns wide, in every block where it holds a
digit. Columns are first cut into blocks in the order of how many lines need them, so that the
columns which are heavy for most lines sit together. What a line holds beyond the blocks that cover
most of it is scattered over many more; such remainders of several lines are collected in further
blocks, each of the columns that just these lines need.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits

OPEN = 64
"""Collecting blocks that a line is tried against."""

COLLECTING = 4
"""Collecting blocks for each block of the order, at most: each reads its columns of B again."""


@dataclass(frozen=True)
class BlockPlan:
    """The K-blocks of the high digits of one operand.

    Parameters
    ----------
    columns : Tensor
        int64 ``[blocks, t]``, the columns of each block, all different.
    lines : Tensor
        int64 ``[slots]``, the line of each slot: block by block, in order.
    sizes : list of int
        Slots of each block, at least 1.
    slot_of_entry, place_of_entry : Tensor
        int64 ``[entries]``: the slot of every entry, and its place among the block's columns.
    """

    columns: Tensor
    lines: Tensor
    sizes: list[int]
    slot_of_entry: Tensor
    place_of_entry: Tensor

    def digits(self, high: SparseDigits) -> list[Tensor]:
        """Write the digits of all slots, ``[slots of the block, t]`` for each block."""
        shape = (self.lines.numel(), self.columns.shape[1])
        written = torch.zeros(shape, dtype=high.values.dtype, device=high.values.device)
        written[self.slot_of_entry, self.place_of_entry] = high.values
        return list(torch.split(written, self.sizes))


def plan_blocks(high: SparseDigits, t: int) -> BlockPlan:
    """Choose blocks of `t` columns for the lines of one operand.

    Parameters
    ----------
    high : SparseDigits
        The high digits, ``[lines, d]``.
    t : int
        From 1 to d.
    """
    slots, places, lines, blocks, columns = _planned(high, t)
    order = np.argsort(blocks, kind="stable")
    slot = np.empty_like(order)
    slot[order] = np.arange(order.size)
    used, sizes = np.unique(blocks, return_counts=True)
    by_block, line_of_slot, slot_of_entry, place_of_entry = (
        torch.from_numpy(x).to(high.values.device)
        for x in (columns[used], lines[order], slot[slots], places)
    )
    return BlockPlan(by_block, line_of_slot, sizes.tolist(), slot_of_entry, place_of_entry)


def count_slots(high: SparseDigits, t: int) -> int:
    """Return how many slots `plan_blocks` takes."""
    return _planned(high, t)[2].size


def _planned(high: SparseDigits, t: int) -> tuple[np.ndarray, ...]:
    """Give every entry a slot.

    Returns
    -------
    slots, places : ndarray
        ``[entries]``, the slot of every entry and its place in the block.
    lines, blocks : ndarray
        ``[slots]``.
    columns : ndarray
        ``[blocks, t]``.
    """
    starts, entries = high.starts.cpu().numpy(), high.columns.cpu().numpy()
    d = high.shape[1]
    order = np.argsort(-np.bincount(entries, minlength=d), kind="stable")
    rank = np.empty(d, np.int64)
    rank[order] = np.arange(d)
    position = rank[entries]
    in_order = np.resize(order, (-(-d // t), t))
    limit = t // 2
    while True:
        slots, *covered = _cover(starts, position // t, len(in_order), limit)
        places, room = position % t, COLLECTING * len(in_order)
        fits, *collected = _collect(
            starts, entries, slots, places, len(covered[0]), (room, t), (OPEN, d)
        )
        if fits:
            break
        limit //= 2
    lines, blocks, columns = collected
    _fill_up(columns, order)
    return (
        slots,
        places,
        np.concatenate([covered[0], lines]),
        np.concatenate([covered[1], blocks + len(in_order)]),
        np.concatenate([in_order, columns]),
    )


@numba.njit(cache=True)
def _cover(
    starts: np.ndarray, block_of_entry: np.ndarray, blocks: int, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let each line take the blocks that cover most of it until at most `limit` entries are left.

    Returns
    -------
    slots : ndarray
        ``[entries]``; -1 for those that are left.
    lines, chosen : ndarray
        ``[slots]``, the line and the block of each.
    """
    slots = np.empty_like(block_of_entry)
    lines, chosen = np.empty_like(slots), np.empty_like(slots)
    used = 0
    covered, slot_in = np.zeros(blocks, np.int64), np.full(blocks, -1, np.int64)
    touched = np.empty(blocks, np.int64)
    for i in range(starts.size - 1):
        own = block_of_entry[starts[i] : starts[i + 1]]
        touches = 0
        for block in own:
            if covered[block] == 0:
                touched[touches] = block
                touches += 1
            covered[block] += 1
        left = own.size
        while left > 0:
            best = touched[0]
            for block in touched[:touches]:
                if covered[block] > covered[best]:
                    best = block
            if left <= limit and covered[best] < left:
                break
            slot_in[best], lines[used], chosen[used] = used, i, best
            used += 1
            left -= covered[best]
            covered[best] = 0
        slots[starts[i] : starts[i + 1]] = slot_in[own]
        for block in touched[:touches]:
            covered[block], slot_in[block] = 0, -1
    return slots, lines[:used], chosen[:used]


@numba.njit(cache=True)
def _collect(
    starts: np.ndarray,
    entries: np.ndarray,
    slots: np.ndarray,
    places: np.ndarray,
    first_slot: int,
    room: tuple[int, int],
    opened: tuple[int, int],
) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray]:
    """Let what is left of each line go to a collecting block, and write its slots and places.

    It takes the open block that has most of its columns and room for the others.

    Parameters
    ----------
    room, opened : tuple of int
        The largest number of blocks and their columns; the number of open blocks, and of columns.

    Returns
    -------
    fits : bool
        Whether the blocks were enough.
    lines, chosen : ndarray
        ``[slots]``, the line and the block of each.
    columns : ndarray
        ``[blocks, t]``, -1 where a place is free.
    """
    t = room[1]
    columns = np.full(room, -1, np.int64)
    lines, chosen = np.empty(starts.size, np.int64), np.empty(starts.size, np.int64)
    used, blocks = 0, 0
    place_in = np.full(opened, -1, np.int64)
    size, block_of = np.full(opened[0], t, np.int64), np.zeros(opened[0], np.int64)
    for i in range(starts.size - 1):
        left = starts[i] + np.flatnonzero(slots[starts[i] : starts[i + 1]] < 0)
        if left.size == 0:
            continue
        best, fewest = -1, t + 1
        for k in range(opened[0]):
            new = 0
            for entry in left:
                new += place_in[k, entries[entry]] < 0
            if size[k] + new <= t and new < fewest:
                best, fewest = k, new
        if best < 0:
            if blocks == len(columns):
                return False, lines, chosen, columns
            best = int(np.argmax(size))
            place_in[best], size[best], block_of[best] = -1, 0, blocks
            blocks += 1
        for entry in left:
            column = entries[entry]
            if place_in[best, column] < 0:
                place_in[best, column] = size[best]
                columns[block_of[best], size[best]] = column
                size[best] += 1
            slots[entry], places[entry] = first_slot + used, place_in[best, column]
        lines[used], chosen[used] = i, block_of[best]
        used += 1
    return True, lines[:used], chosen[:used], columns[:blocks]


@numba.njit(cache=True)
def _fill_up(columns: np.ndarray, order: np.ndarray) -> None:
    """Put columns that a collecting block does not have in its free places."""
    member = np.zeros(order.size, np.bool_)
    for block in columns:
        for column in block:
            if column >= 0:
                member[column] = True
        candidate = 0
        for place in range(block.size):
            if block[place] < 0:
                while member[order[candidate]]:
                    candidate += 1
                block[place] = order[candidate]
                candidate += 1
        member[:] = False
