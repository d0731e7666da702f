"""Block unpacking: one dense product of low digits, and corrections where entries do not fit."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelsim.unpack.blocks import BlockPlan, plan_blocks
from accelsim.unpack.heavy import Parted, part
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import LineMap, Product, chosen_lines
from accelsim.unpack.strategy import Strategy


class Block(Strategy):
    """Corrections of `t` columns at once, for the rows that need them.

    ``C = A0 B0^T + A' B^T + A0 B'^T`` with the low digits A0 and B0, and A' and B' of what does
    not fit them; ``A' B^T`` is ``A' B0^T + A' B'^T``.

    Parameters
    ----------
    block : int
        Columns that are multiplied at once. At 1 every out-of-bound entry stands for itself, and
        the corrections are sparse products.
    """

    name = "block"
    uses_block = True

    def __init__(self, block: int = 32) -> None:
        self.block = block

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Part both operands, and write the base product and its corrections."""
        left, right = part(a.heads[head], a.system), part(b.heads[head], b.system)
        base = Product(left.low, right.low, left.whole, right.whole, 0, head)
        if self.block == 1:
            return [base, *sparse_corrections(left, right, head)], self.name
        t = min(self.block, max(1, left.low.shape[1]))
        corrections = block_corrections(left, right, t, head)
        mirrored = [
            replace(p, a=p.b, b=p.a, rows=p.columns, columns=p.rows)
            for p in block_corrections(right, left.without_high, t, head)
        ]
        return [base, *corrections, *mirrored], self.name


def sparse_corrections(a: Parted, b: Parted, head: int) -> list[Product]:
    """Return the corrections in which every out-of-bound entry stands for itself."""
    products = []
    if a.high.entries:
        products.append(Product(a.high, b.low, a.lines, b.whole, 0, head))
    if b.high.entries:
        products.append(Product(a.low, b.high, a.whole, b.lines, 0, head))
    if a.high.entries and b.high.entries:
        products.append(Product(a.high, b.high, a.lines, b.lines, 0, head))
    return products


def block_corrections(a: Parted, b: Parted, t: int, head: int) -> list[Product]:
    """Return the products of A's high digits with B, its high digits included, block by block."""
    if not a.high.entries:
        return []
    plan = plan_blocks(a.high, t)
    digits = plan.digits(a.high)
    products = []
    for block, (start, stop) in enumerate(zip(plan.starts, plan.starts[1:], strict=False)):
        other, columns = _columns_of(b, plan, block)
        rows = chosen_lines(a.lines, plan.lines[start:stop])
        products.append(Product(digits[start:stop], other, rows, columns, 0, head))
    return products


def _columns_of(b: Parted, plan: BlockPlan, block: int) -> tuple[Tensor, LineMap]:
    """Return all digits of B in the columns of a block."""
    columns = plan.columns[block]
    low = b.low[:, columns]
    place = torch.full((b.low.shape[1],), -1, dtype=torch.int64, device=low.device)
    place[columns] = torch.arange(columns.numel(), device=low.device)
    places = place[b.high.columns]
    inside = places >= 0
    lines, line = torch.unique(b.high.row_of_entry[inside], return_inverse=True)
    high = low.new_zeros((lines.numel(), low.shape[1]))
    high[line, places[inside]] = b.high.values[inside]
    return torch.cat([low, high]), (*b.whole, *chosen_lines(b.lines, lines))
