"""Column unpacking for block: columns that nearly every row needs are copied as a whole."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack.blocks import count_slots
from accelsim.unpack.heavy import Parted
from accelsim.unpack.panels import Panel
from accelsim.unpack.problem import Segment


def copy_columns(parted: Parted, t: int) -> tuple[Parted, list[Panel]]:
    """Take the columns out of the high digits that are cheaper copied than in blocks.

    A copied column costs as much as ``n / t`` slots. The columns that hold the most digits are
    tried first, 1, 2, 4, … of them; the remainder is planned to determine its cost.

    Parameters
    ----------
    parted : Parted
        An operand of n rows.
    t : int
        Columns of a block.

    Returns
    -------
    Parted
        The operand without the high digits that were copied.
    list of Panel
        The copied digits, at most `t` columns of one digit level in each.
    """
    n, high = parted.low.shape[0], parted.high
    d = high.shape[1]
    levels = torch.cat(
        [
            high.columns.new_empty(0),
            *(high.columns.new_full((x.count,), i) for i, x in enumerate(parted.lines)),
        ]
    )
    key = levels[high.row_of_entry] * d + high.columns
    counts = torch.bincount(key, minlength=1)
    order = torch.argsort(counts, descending=True, stable=True)
    candidates = int((counts * t > n).sum())
    if candidates == 0:
        return parted, []
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel(), device=order.device)
    rank_of_entry = rank[key]
    number = _cheapest(high, rank_of_entry, candidates, n, t)
    if number == 0:
        return parted, []
    kept = rank_of_entry >= number
    panels = []
    copied = order[:number]
    for level, segment in enumerate(parted.lines):
        own = copied[copied // d == level] % d
        for columns in torch.split(own, t) if own.numel() else ():
            place = torch.full((d,), -1, device=high.columns.device)
            place[columns] = torch.arange(columns.numel(), device=place.device)
            taken = (levels[high.row_of_entry] == level) & (place[high.columns] >= 0)
            digits = high.values.new_zeros((n, columns.numel()))
            rows = parted.row_of_line[high.row_of_entry[taken]]
            digits[rows, place[high.columns[taken]]] = high.values[taken]
            panels.append(Panel(columns, digits, (Segment(n, segment.exponent),)))
    return replace(parted, high=_chosen(high, kept)), panels


def _cheapest(high: SparseDigits, rank: Tensor, candidates: int, n: int, t: int) -> int:
    """Return how many columns to copy."""
    costs: dict[int, int] = {}

    def cost(number: int) -> int:
        if number not in costs:
            costs[number] = number * n + t * count_slots(_chosen(high, rank >= number), t)
        return costs[number]

    best, number = 0, 1
    while number <= candidates and number * n < cost(best):
        best = min(best, number, key=cost)
        number *= 2
    for number in (best * 3 // 4, best * 3 // 2):
        if 0 < number <= candidates:
            best = min(best, number, key=cost)
    return best


def _chosen(high: SparseDigits, kept: Tensor) -> SparseDigits:
    shape = (high.shape[0], high.shape[1])
    return SparseDigits.from_entries(
        high.row_of_entry[kept], high.columns[kept], high.values[kept], shape
    )
