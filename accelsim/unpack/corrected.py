"""Products whose corrections go into the same accumulators, for accelerators that have lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack.problem import LineMap, Product


@dataclass(frozen=True)
class High:
    """The single high digits of one operand.

    Parameters
    ----------
    digits : SparseDigits
        ``[lines, d]``.
    lines : LineMap
        The line of the operand and the power of two of each.
    """

    digits: SparseDigits
    lines: LineMap

    @property
    def index(self) -> Tensor:
        """The line of the operand that each line belongs to, int64."""
        device = self.digits.columns.device
        parts = [
            torch.arange(part.count, device=device) if part.index is None else part.index
            for part in self.lines
        ]
        return torch.cat([self.digits.columns.new_empty(0), *parts])

    @property
    def exponent(self) -> Tensor:
        """The power of two of each line, int64."""
        device = self.digits.columns.device
        sizes = torch.tensor([part.count for part in self.lines], dtype=torch.int64, device=device)
        powers = torch.tensor(
            [part.exponent for part in self.lines], dtype=torch.int64, device=device
        )
        return torch.repeat_interleave(powers, sizes)


@dataclass(frozen=True, kw_only=True)
class CorrectedProduct(Product):
    """A dense product, and the single high digits whose products are added in place.

    Parameters
    ----------
    high_a, high_b : High
        What the entries of `a` and `b` lack of their values.
    """

    a: Tensor = field(kw_only=False)
    b: Tensor = field(kw_only=False)
    high_a: High
    high_b: High

    @property
    def macs(self) -> int:
        """Low-bit multiplications: those of the dense product and of its corrections."""
        return super().macs + self.sparse_macs

    @property
    def sparse_macs(self) -> int:
        """Multiplications of the corrections."""
        x, y = self.high_a.digits, self.high_b.digits
        pairs = Product(x, y, (), (), 0).macs
        return x.entries * self.b.shape[0] + y.entries * self.a.shape[0] + pairs

    def slices(self, k: int) -> list[Self]:
        """Cut the product with its corrections into products of at most `k` columns."""
        d = self.a.shape[1]
        if d <= k:
            return [self]
        return [
            replace(
                self,
                a=self.a[:, start : start + k].contiguous(),
                b=self.b[:, start : start + k].contiguous(),
                high_a=_between(self.high_a, start, k),
                high_b=_between(self.high_b, start, k),
            )
            for start in range(0, d, k)
        ]


def in_place(products: Sequence[Product]) -> list[Product] | None:
    """Join every dense product with the sparse ones behind it, which correct it.

    Returns
    -------
    list of Product or None
        None if the products are not of this form: every sparse product must multiply high digits by
        the dense product's own operand, or by the other operand's high digits.
    """
    joined: list[Product] = []
    rest = list(products)
    while rest:
        base = rest.pop(0)
        if base.is_sparse:
            return None
        sparse = []
        while rest and rest[0].is_sparse:
            sparse.append(rest.pop(0))
        if not sparse:
            joined.append(base)
            continue
        corrected = _corrected(base, sparse)
        if corrected is None:
            return None
        joined.append(corrected)
    return joined


def _corrected(base: Product, sparse: Sequence[Product]) -> CorrectedProduct | None:
    a, b = base.a, base.b
    plain = all(len(m) == 1 and m[0].index is None for m in (base.rows, base.columns))
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and plain):
        return None
    high = {"a": _none(a), "b": _none(b)}
    pairs = []
    for product in sparse:
        x, y = product.a, product.b
        if isinstance(x, SparseDigits) and y is b:
            high["a"] = High(x, product.rows)
        elif isinstance(y, SparseDigits) and x is a:
            high["b"] = High(y, product.columns)
        else:
            pairs.append(product)
    found = high["a"].digits, high["b"].digits
    both = 1 if found[0].entries and found[1].entries else 0
    if len(pairs) != both or any(p.a is not found[0] or p.b is not found[1] for p in pairs):
        return None
    if any(p.exponent != base.exponent or p.head != base.head for p in sparse):
        return None
    return CorrectedProduct(
        a, b, base.rows, base.columns, base.exponent, base.head, high_a=high["a"], high_b=high["b"]
    )


def _none(digits: Tensor) -> High:
    none = torch.empty(0, dtype=torch.int64, device=digits.device)
    shape = (0, digits.shape[1])
    return High(SparseDigits.from_entries(none, none, digits.new_empty(0), shape), ())


def _between(high: High, start: int, count: int) -> High:
    stop = min(start + count, high.digits.shape[1])
    return High(high.digits.between(start, stop), high.lines)
