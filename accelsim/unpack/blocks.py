"""K-blocks: which columns are multiplied at once, and for which lines of high digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.sparse import SparseDigits


@dataclass(frozen=True)
class BlockPlan:
    """Where the high digits of one operand are multiplied.

    A slot is one line of high digits in one block. Slots lie block by block, lines in order.

    Parameters
    ----------
    columns : Tensor
        int64 ``[blocks, t]``, the columns of each block.
    starts : list of int
        The slots of block g are those from ``starts[g]`` to ``starts[g + 1]``.
    lines : Tensor
        int64 ``[slots]``, the line of each slot.
    slot_of_entry, place_of_entry : Tensor
        int64 ``[entries]``: the slot of every entry, and its place among the block's columns.
    """

    columns: Tensor
    starts: list[int]
    lines: Tensor
    slot_of_entry: Tensor
    place_of_entry: Tensor

    def digits(self, high: SparseDigits) -> Tensor:
        """Write the digits of all slots, ``[slots, t]``."""
        shape = (self.lines.numel(), self.columns.shape[1])
        written = torch.zeros(shape, dtype=high.values.dtype, device=high.values.device)
        written[self.slot_of_entry, self.place_of_entry] = high.values
        return written


def plan_blocks(high: SparseDigits, t: int) -> BlockPlan:
    """Sort the columns by how many lines need them and cut them into blocks of `t`."""
    lines, d = high.shape
    heaviness = torch.bincount(high.columns, minlength=d)
    order = torch.argsort(heaviness, descending=True, stable=True)
    used = int((heaviness > 0).sum())
    blocks = -(-used // t)
    columns = order[: blocks * t]
    missing = blocks * t - columns.numel()
    columns = torch.cat([columns, order[:missing]]).reshape(blocks, t)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(d, device=order.device)
    place = rank[high.columns]
    key = (place // t) * lines + high.row_of_entry
    slots, slot_of_entry = torch.unique(key, return_inverse=True)
    starts = torch.searchsorted(slots, torch.arange(blocks + 1, device=slots.device) * lines)
    return BlockPlan(columns, starts.tolist(), slots % max(lines, 1), slot_of_entry, place % t)
