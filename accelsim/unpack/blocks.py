"""K-blocks: which columns are multiplied at once, and for which lines of high digits.

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

from accelsim.sparse import SparseDigits

OPEN = 64
"""Collecting blocks that a line is tried against."""

COLLECTING = 4
"""Collecting blocks for each block of the order, at most: each reads its columns of B anew."""


@dataclass(frozen=True)
class BlockPlan:
    """Where the high digits of one operand are multiplied.

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
    starts, entries = high.starts.cpu().numpy(), high.columns.cpu().numpy()
    limit = t // 2
    while (found := _assign(starts, entries, high.shape[1], t, limit, OPEN, COLLECTING))[0] < 0:
        limit //= 2
    return found[1:]


@numba.njit(cache=True)
def _assign(
    starts: np.ndarray,
    entries: np.ndarray,
    d: int,
    t: int,
    limit: int,
    open_at_once: int,
    collecting: int,
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give every entry a slot.

    A line takes the blocks of the order that cover most of it until at most `limit` entries are
    left; these go to the open collecting block that has most of their columns and room for the
    others.

    Returns
    -------
    blocks : int
        Their number, or -1 if more than `collecting` for each block of the order are needed.
    slots, places : ndarray
        ``[entries]``, the slot and the place in the block of every entry.
    lines, block_of_slot : ndarray
        ``[slots]``.
    columns : ndarray
        ``[blocks, t]``.
    """
    count = np.zeros(d, np.int64)
    for column in entries:
        count[column] += 1
    order = np.argsort(-count, kind="mergesort")
    rank = np.empty(d, np.int64)
    rank[order] = np.arange(d)
    in_order = -(-d // t)
    columns = np.empty(((1 + collecting) * in_order, t), np.int64)
    for position in range(in_order * t):
        columns[position // t, position % t] = order[position % d]

    slots, places = np.empty(entries.size, np.int64), np.empty(entries.size, np.int64)
    lines, block_of_slot = np.empty(entries.size, np.int64), np.empty(entries.size, np.int64)
    used, blocks = 0, in_order
    covered, slot_in = np.zeros(in_order, np.int64), np.full(in_order, -1, np.int64)
    touched, remainder = np.empty(in_order, np.int64), np.empty(t, np.int64)
    place_in = np.full((open_at_once, d), -1, np.int64)
    size, block_of = np.full(open_at_once, t, np.int64), np.zeros(open_at_once, np.int64)
    for i in range(starts.size - 1):
        first, stop = starts[i], starts[i + 1]
        touches = 0
        for entry in range(first, stop):
            block = rank[entries[entry]] // t
            if covered[block] == 0:
                touched[touches] = block
                touches += 1
            covered[block] += 1
        left = stop - first
        while left > 0:
            best = touched[0]
            for block in touched[:touches]:
                if covered[block] > covered[best]:
                    best = block
            if left <= limit and covered[best] < left:
                break
            slot_in[best], lines[used], block_of_slot[used] = used, i, best
            used += 1
            left -= covered[best]
            covered[best] = 0
        remaining = 0
        for entry in range(first, stop):
            position = rank[entries[entry]]
            if slot_in[position // t] >= 0:
                slots[entry], places[entry] = slot_in[position // t], position % t
            else:
                remainder[remaining] = entry
                remaining += 1
        if remaining > 0:
            chosen, fewest = -1, t + 1
            for k in range(open_at_once):
                new = 0
                for entry in remainder[:remaining]:
                    new += place_in[k, entries[entry]] < 0
                if size[k] + new <= t and new < fewest:
                    chosen, fewest = k, new
            if chosen < 0:
                if blocks == columns.shape[0]:
                    return -1, slots, places, lines, block_of_slot, columns
                chosen = int(np.argmax(size))
                place_in[chosen], size[chosen], block_of[chosen] = -1, 0, blocks
                columns[blocks] = -1
                blocks += 1
            for entry in remainder[:remaining]:
                column = entries[entry]
                if place_in[chosen, column] < 0:
                    place_in[chosen, column] = size[chosen]
                    columns[block_of[chosen], size[chosen]] = column
                    size[chosen] += 1
                slots[entry], places[entry] = used, place_in[chosen, column]
            lines[used], block_of_slot[used] = i, block_of[chosen]
            used += 1
        for block in touched[:touches]:
            covered[block], slot_in[block] = 0, -1
    _fill_up(columns[in_order:blocks], order)
    return blocks, slots, places, lines[:used], block_of_slot[:used], columns[:blocks]


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
