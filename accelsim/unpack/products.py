"""Write out the products of one matrix pair, as the covers of A and B ask."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.unpack.levels import Levels
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import LineMap, Product, Segment


@dataclass(frozen=True)
class _Columns:
    """Columns of A and B that meet at one level of A and one of B.

    Parameters
    ----------
    index : Tensor
        int64 ``[c]``, the columns.
    level_a, level_b : int
        The levels, from 0.
    last_a, last_b : Tensor
        bool ``[c]``: whether these are the last levels of the column.
    """

    index: Tensor
    level_a: int
    level_b: int
    last_a: Tensor
    last_b: Tensor


def build(
    a: IntegerOperand, b: IntegerOperand, head: int, levels_a: Levels, levels_b: Levels
) -> list[Product]:
    """Write out the products of one matrix pair for two covers.

    Parameters
    ----------
    a, b : IntegerOperand
        The operands.
    head : int
        The matrix of the batch.
    levels_a, levels_b : Levels
        The covers of A, and of B with its columns repeated as `repeats` says for A.

    Returns
    -------
    list of Product
        One for each exponent: the columns of the same exponent lie in one product.
    """
    rows = line_map(levels_a.rows, a.system.shift, a.device)
    columns = line_map(levels_b.rows, b.system.shift, b.device)
    groups: dict[int, list[_Columns]] = defaultdict(list)
    for part in _meetings(levels_a, levels_b):
        groups[part.level_a * a.system.shift + part.level_b * b.system.shift].append(part)
    return [
        Product(
            _digits(a, head, levels_a, parts, "a"),
            _digits(b, head, levels_b, parts, "b"),
            rows,
            columns,
            exponent,
            head,
        )
        for exponent, parts in sorted(groups.items())
    ]


def _meetings(levels_a: Levels, levels_b: Levels) -> list[_Columns]:
    """Match every level of A's columns with every level of B's."""
    if _most(levels_a.columns) == 1 and _most(levels_b.columns) == 1:
        every = torch.arange(len(levels_a.columns), device="cpu")
        once = torch.ones(len(every), dtype=torch.bool, device="cpu")
        return [_Columns(every, 0, 0, once, once)]
    meetings = []
    start = 0
    for level_a, index in enumerate(repeats(levels_a)):
        last_a = levels_a.columns[index] == level_a + 1
        own = levels_b.columns[start : start + len(index)]
        start += len(index)
        for level_b in range(_most(own)):
            met = own > level_b
            meetings.append(
                _Columns(index[met], level_a, level_b, last_a[met], own[met] == level_b + 1)
            )
    return meetings


def _digits(
    operand: IntegerOperand, head: int, levels: Levels, parts: list[_Columns], side: str
) -> Tensor:
    level = [getattr(part, f"level_{side}") for part in parts]
    if level == [0] and len(parts[0].index) == operand.shape[2]:
        last = getattr(parts[0], f"last_{side}")
        skip = torch.zeros(len(last), dtype=torch.int64, device="cpu")
        return operand.digits(head, levels.rows, None, skip, last)
    index = torch.cat([part.index for part in parts])
    skip = torch.repeat_interleave(
        torch.tensor(level, device=index.device),
        torch.tensor([len(part.index) for part in parts], device=index.device),
    )
    last = torch.cat([getattr(part, f"last_{side}") for part in parts])
    return operand.digits(head, levels.rows, index, skip, last)


def line_map(levels: Tensor, shift: int, device: torch.device) -> LineMap:
    """Return where the unpacked lines go: level by level, each weighing ``2**shift`` more.

    Parameters
    ----------
    levels : Tensor
        int64, on the CPU: of each line.
    shift : int
        Exponent of the radix.
    device : torch.device
        Where the indices of lines are to lie.
    """
    segments = [Segment(levels.numel(), 0)]
    for level in range(1, _most(levels)):
        index = (levels > level).nonzero().squeeze(1)
        segments.append(Segment(index.numel(), level * shift, index.to(device, non_blocking=True)))
    return tuple(segments)


def repeats(levels: Levels) -> list[Tensor]:
    """Return the columns that have more than m levels, for each m."""
    return [(levels.columns > level).nonzero().squeeze(1) for level in range(_most(levels.columns))]


def _most(levels: Tensor) -> int:
    return int(levels.max()) if levels.numel() else 1
