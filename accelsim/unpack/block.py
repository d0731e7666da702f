"""Block unpacking: one dense product of low digits, and corrections where entries do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from accelsim.unpack.blocks import plan_blocks
from accelsim.unpack.bound import least_macs_of_covers
from accelsim.unpack.copies import copy_columns
from accelsim.unpack.heavy import Parted, part
from accelsim.unpack.panels import Panel, cross
from accelsim.unpack.problem import Product, chosen_lines, macs
from accelsim.unpack.strategy import IntegerOperand, Strategy, cheapest_pair


class Block(Strategy):
    """Corrections of `t` columns at once, for the rows that need them.

    ``A = A0 + Ac + A'``: low digits A0, dense; the high digits Ac of columns that are heavy
    throughout, copied as a whole; and the high digits A' of the rest, in blocks of t columns (see
    `accelsim.unpack.blocks`). The same for B, and every product of two parts is taken once.

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
        """Part both operands, and write the base product and its corrections.

        Where the paper's covers are cheaper (t is d there) they are taken.
        """
        left, right = part(a.heads[head], a.system), part(b.heads[head], b.system)
        base = Product(left.low, right.low, left.whole, right.whole, 0, head)
        if self.block == 1:
            return [base, *sparse_corrections(left, right, head)], self.name
        t = min(self.block, max(1, left.low.shape[1]))
        products = [base, *block_corrections(left, right, t, head)]
        cost = macs(products)
        if cost > least_macs_of_covers(left, right):
            pair = cheapest_pair(a, b, head)
            if pair.macs < cost:
                return pair.products(a, b, head), pair.name
        return products, self.name


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
    """Return the corrections with `t` columns at once.

    The product of A's high digits with B's is taken in A's blocks or in B's, whichever is less.
    """
    (a, copies_a), (b, copies_b) = copy_columns(a, t), copy_columns(b, t)
    blocks_a, blocks_b = _blocks(a, t), _blocks(b, t)
    in_a, in_b = _products(blocks_a, b, head), _products(blocks_b, a, head)
    without_a = _products(blocks_a, b.without_high, head)
    without_b = _products(blocks_b, a.without_high, head)
    if macs(in_a) + macs(without_b) <= macs(without_a) + macs(in_b):
        in_b = without_b
    else:
        in_a = without_a
    return [
        *in_a,
        *_products(copies_a, b, head),
        *_mirrored(in_b),
        *_mirrored(_products(copies_b, a, head)),
        *_products_of_copies(copies_a, copies_b, head),
    ]


def _blocks(parted: Parted, t: int) -> list[Panel]:
    plan = plan_blocks(parted.high, t)
    lines = torch.split(plan.lines, plan.sizes)
    return [
        Panel(columns, digits, chosen_lines(parted.lines, own))
        for columns, digits, own in zip(plan.columns, plan.digits(parted.high), lines, strict=True)
    ]


def _products(panels: Sequence[Panel], b: Parted, head: int) -> list[Product]:
    """Return the products of panels of A with B's low digits and with its lines of high ones."""
    crossing = cross(panels, b.high)
    return [
        Product(
            panel.digits,
            torch.cat([b.low[:, panel.columns], digits]),
            panel.rows,
            (*b.whole, *chosen_lines(b.lines, lines)) if lines.numel() else b.whole,
            0,
            head,
        )
        for panel, lines, digits in zip(panels, crossing.lines, crossing.digits, strict=True)
    ]


def _products_of_copies(a: Sequence[Panel], b: Sequence[Panel], head: int) -> list[Product]:
    products = []
    for x in a:
        for y in b:
            own_a, own_b = torch.nonzero(x.columns[:, None] == y.columns, as_tuple=True)
            if own_a.numel():
                digits = x.digits[:, own_a], y.digits[:, own_b]
                products.append(Product(*digits, x.rows, y.rows, 0, head))
    return products


def _mirrored(products: Sequence[Product]) -> list[Product]:
    return [replace(p, a=p.b, b=p.a, rows=p.columns, columns=p.rows) for p in products]
