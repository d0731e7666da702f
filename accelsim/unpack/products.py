"""Write out the products of one matrix pair, as the covers of A and B ask."""

from __future__ import annotations

import functools
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
    rows = line_map(a, head, levels_a.rows)
    columns = line_map(b, head, levels_b.rows)
    if levels_a.columns_once and levels_b.columns_once:
        digits_a, digits_b = _by_rows(a, head, levels_a), _by_rows(b, head, levels_b)
        return [Product(digits_a, digits_b, rows, columns, 0, head)]
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


@functools.lru_cache(maxsize=16)
def _first_and_last(width: int) -> tuple[Tensor, Tensor]:
    """Say of every column that its only level, the first, is its last."""
    first = torch.zeros(width, dtype=torch.int64, device="cpu")
    return first, torch.ones(width, dtype=torch.bool, device="cpu")


def _by_rows(operand: IntegerOperand, head: int, levels: Levels) -> Tensor:
    """Write one matrix in digits where no column has further levels."""
    return operand.digits(head, levels.rows, None, *_first_and_last(operand.shape[2]))


def _digits(
    operand: IntegerOperand, head: int, levels: Levels, parts: list[_Columns], side: str
) -> Tensor:
    level = [getattr(part, f"level_{side}") for part in parts]
    if level == [0] and len(parts[0].index) == operand.shape[2]:
        last = getattr(parts[0], f"last_{side}")
        return operand.digits(head, levels.rows, None, _first_and_last(len(last))[0], last)
    index = torch.cat([part.index for part in parts])
    skip = torch.repeat_interleave(
        torch.tensor(level, device=index.device),
        torch.tensor([len(part.index) for part in parts], device=index.device),
    )
    last = torch.cat([getattr(part, f"last_{side}") for part in parts])
    return operand.digits(head, levels.rows, index, skip, last)


def line_map(operand: IntegerOperand, head: int, levels: Tensor) -> LineMap:
    """Return where the unpacked rows go: level by level, each weighing ``2**shift`` more.

    Parameters
    ----------
    operand : IntegerOperand
        The operand.
    head : int
        The matrix of the batch.
    levels : Tensor
        int64, on the CPU: of each row.
    """
    shift = operand.system.shift
    further = enumerate(operand.kernels.lines(head, levels), 1)
    return (
        Segment(levels.numel(), 0),
        *(Segment(rows.numel(), level * shift, rows) for level, rows in further),
    )


def repeats(levels: Levels) -> list[Tensor]:
    """Return the columns that have more than m levels, for each m."""
    return [(levels.columns > level).nonzero().squeeze(1) for level in range(_most(levels.columns))]


def repeated(levels: Levels) -> Tensor | None:
    """Return the columns of B as those of A are repeated, for `cover`; None for each once."""
    return None if levels.columns_once else torch.cat(repeats(levels))


def _most(levels: Tensor) -> int:
    return int(levels.max()) if levels.numel() else 1
