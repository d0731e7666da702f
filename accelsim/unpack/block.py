"""Block unpacking: one dense product of low digits, and corrections where entries do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from accelsim.unpack.blocks import plan_blocks
from accelsim.unpack.bound import least_macs_of_covers
from accelsim.unpack.copies import copy_columns
from accelsim.unpack.heavy import Parted, part
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.panels import Crossing, Panel, cross
from accelsim.unpack.problem import Product, chosen_lines, macs
from accelsim.unpack.strategy import Strategy, cheapest_pair


class Block(Strategy):
    """Corrections of `t` columns at once, for the rows that need them.

    ``A = A0 + Ac + A'``: low digits A0, dense; the high digits Ac of columns that are heavy
    throughout, copied as a whole; and the high digits A' of the rest, in blocks of t columns (see
    `accelsim.unpack.blocks`). The same for B, and every product of two parts is taken once.

    Parameters
    ----------
    block : int
        Columns that are multiplied at once. At 1 every out-of-bound entry is its own block, and
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

        Where the paper's covers are cheaper (their t is d), they are used.
        """
        left, right = part(a, head), part(b, head)
        base = Product(left.low, right.low, left.whole, right.whole, 0, head)
        t = min(self.block, a.shape[2])
        if t <= 1:
            return [base, *sparse_corrections(left, right, head)], self.name
        products = [base, *block_corrections(_pieces(a, head, t), _pieces(b, head, t), head)]
        cost = macs(products)
        if cost > least_macs_of_covers(left, right):
            pair = cheapest_pair(a, b, head)
            if pair.macs < cost:
                return pair.products(a, b, head), pair.name
        return products, self.name


def sparse_corrections(a: Parted, b: Parted, head: int) -> list[Product]:
    """Return the corrections in which every out-of-bound entry is its own block."""
    products = []
    if a.high.entries:
        products.append(Product(a.high, b.low, a.lines, b.whole, 0, head))
    if b.high.entries:
        products.append(Product(a.low, b.high, a.whole, b.lines, 0, head))
    if a.high.entries and b.high.entries:
        products.append(Product(a.high, b.high, a.lines, b.lines, 0, head))
    return products


@dataclass(frozen=True)
class Pieces:
    """An operand as low digits, copied columns, and the rest of its high digits in blocks.

    Parameters
    ----------
    parted : Parted
        The operand without the copied digits.
    copies, blocks : list of Panel
        The copied digits, and all others.
    """

    parted: Parted
    copies: list[Panel]
    blocks: list[Panel]


def _pieces(operand: IntegerOperand, head: int, t: int) -> Pieces:
    key = "pieces", head, t
    if key not in operand.notes:
        parted, copies = copy_columns(part(operand, head), t)
        operand.notes[key] = Pieces(parted, copies, _blocks(parted, t))
    pieces: Pieces = operand.notes[key]
    return pieces


def _blocks(parted: Parted, t: int) -> list[Panel]:
    plan = plan_blocks(parted.high, t)
    lines = torch.split(plan.lines, plan.sizes)
    return [
        Panel(columns, digits, chosen_lines(parted.lines, own))
        for columns, digits, own in zip(plan.columns, plan.digits(parted.high), lines, strict=True)
    ]


def block_corrections(a: Pieces, b: Pieces, head: int) -> list[Product]:
    """Return the products of all pieces but the low digits with each other.

    Blocks of A meet blocks of B either in A's columns or in B's, whichever is less.
    """
    in_a, in_b = cross(a.blocks, b.parted.high), cross(b.blocks, a.parted.high)
    if in_a.macs(a.blocks) <= in_b.macs(b.blocks):
        in_b = cross(b.blocks, None)
    else:
        in_a = cross(a.blocks, None)
    copies_a, copies_b = cross(a.copies, b.parted.high), cross(b.copies, a.parted.high)
    return [
        *_products(a.blocks, b.parted, in_a, head),
        *_products(a.copies, b.parted, copies_a, head),
        *_mirrored(_products(b.blocks, a.parted, in_b, head)),
        *_mirrored(_products(b.copies, a.parted, copies_b, head)),
        *_products_of_copies(a.copies, b.copies, head),
    ]


def _products(panels: Sequence[Panel], b: Parted, crossing: Crossing, head: int) -> list[Product]:
    """Return the products of panels of A with B's low digits and with lines of its high ones."""
    products = []
    for panel, lines, digits in zip(panels, crossing.lines, crossing.digits, strict=True):
        other, columns = b.low[:, panel.columns], b.whole
        if len(lines):
            other = torch.cat([other, digits])
            columns = (*columns, *chosen_lines(b.lines, lines))
        products.append(Product(panel.digits, other, panel.rows, columns, 0, head))
    return products


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
