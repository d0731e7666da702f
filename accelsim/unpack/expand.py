"""Write an operand in digits, as a cover asks, and put the digits of A and B into products."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from accelsim.unpack.digits import DigitSystem
from accelsim.unpack.levels import Levels
from accelsim.unpack.problem import LineMap, Product, Segment


def expand(values: Tensor, levels: Levels, system: DigitSystem) -> list[Tensor]:
    """Write every entry in digits, spread over the levels of its row and its column.

    Parameters
    ----------
    values : Tensor
        Integers ``[n, d]``.
    levels : Levels
        A cover of them.
    system : DigitSystem
        The digits.

    Returns
    -------
    list of Tensor
        For each column level m, ``[sum(levels.rows), number of columns with more than m levels]``
        digits. Rows lie level by level. An entry's digits go down the levels of its row first,
        then along those of its column.
    """
    rest = values.to(torch.int64)
    row_levels, column_levels = levels.rows, levels.columns
    depth = int(column_levels.max()) if column_levels.numel() else 1
    parts: list[list[Tensor]] = [[] for _ in range(depth)]
    level = 1
    while True:
        ends = (row_levels == level).unsqueeze(1)
        low, high = system.split(rest)
        parts[0].append(torch.where(ends & (column_levels == 1), rest, low).to(system.dtype))
        columns, beyond = column_levels, high.masked_fill(~ends, 0)
        for m in range(1, depth):
            beyond, columns = beyond[:, columns > m], columns[columns > m]
            low, above = system.split(beyond)
            parts[m].append(torch.where(columns == m + 1, beyond, low).to(system.dtype))
            beyond = above
        deeper = row_levels > level
        if not bool(deeper.any()):
            break
        rest, row_levels, level = high[deeper], row_levels[deeper], level + 1
    return [torch.cat(part) for part in parts]


def line_map(levels: Tensor, shift: int) -> LineMap:
    """Return where the unpacked lines go: level by level, each weighing ``2**shift`` more."""
    segments = [Segment(levels.numel(), 0)]
    level = 1
    while bool((deeper := levels > level).any()):
        index = deeper.nonzero().squeeze(1)
        segments.append(Segment(index.numel(), level * shift, index))
        level += 1
    return tuple(segments)


def repeats(levels: Levels) -> list[Tensor]:
    """Return the columns that have more than m levels, for each m."""
    depth = int(levels.columns.max()) if levels.columns.numel() else 1
    return [(levels.columns > m).nonzero().squeeze(1) for m in range(depth)]


def products(
    a: list[Tensor],
    b: list[Tensor],
    levels_a: Levels,
    levels_b: Levels,
    systems: tuple[DigitSystem, DigitSystem],
    head: int,
) -> list[Product]:
    """Match the columns of A and B and gather those of one exponent in one product.

    Parameters
    ----------
    a : list of Tensor
        A's digits by column level (see `expand`).
    b : list of Tensor
        The digits of B, whose columns were repeated as `repeats` says for A.
    levels_a, levels_b : Levels
        The covers of A, and of B with its repeated columns.
    systems : tuple of DigitSystem
        The digits of A and of B.
    head : int
        The matrix of the batch.
    """
    rows = line_map(levels_a.rows, systems[0].shift)
    columns = line_map(levels_b.rows, systems[1].shift)
    groups: dict[int, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    start = 0
    for level_a, digits_a in enumerate(a):
        own = levels_b.columns[start : start + digits_a.shape[1]]
        for level_b, digits_b in enumerate(b):
            keep = own > level_b
            kept = int(keep.sum())
            if level_b and not kept:
                continue
            before = int((levels_b.columns[:start] > level_b).sum())
            exponent = level_a * systems[0].shift + level_b * systems[1].shift
            left, right = groups[exponent]
            left.append(digits_a if kept == digits_a.shape[1] else digits_a[:, keep])
            right.append(digits_b[:, before : before + kept])
        start += digits_a.shape[1]
    return [
        Product(
            torch.cat(left, dim=1) if len(left) > 1 else left[0].contiguous(),
            torch.cat(right, dim=1) if len(right) > 1 else right[0].contiguous(),
            rows,
            columns,
            exponent,
            head,
        )
        for exponent, (left, right) in sorted(groups.items())
    ]
