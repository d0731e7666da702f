"""The low-bit problem: the products that give C, and how they are put together.

``C = sum_g P_g (A_g B_g^T) Q_g^T``: every strategy's result has this one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """Consecutive lines of a product that go to lines of C with one power of two.

    Parameters
    ----------
    count : int
        Number of lines.
    exponent : int
        Each line is multiplied by ``2**exponent``.
    index : Tensor or None
        int64 ``[count]``, the lines of C; None for all lines in order.
    """

    count: int
    exponent: int
    index: Tensor | None = None


LineMap = tuple[Segment, ...]
"""P_g or Q_g: the segments that cover all rows, or all columns, of a product in order."""


@dataclass(frozen=True)
class Product:
    """One low-bit GEMM and where its result goes.

    Parameters
    ----------
    a, b : Tensor
        Digits ``[n_g, d_g]`` and ``[h_g, d_g]``, int8 or int16.
    rows, columns : LineMap
        Where the rows and the columns of the result go in C.
    exponent : int
        The result is multiplied by ``2**exponent``.
    head : int
        The matrix of the batch that it belongs to.
    """

    a: Tensor
    b: Tensor
    rows: LineMap
    columns: LineMap
    exponent: int
    head: int = 0

    @property
    def macs(self) -> int:
        """Low-bit multiplications."""
        return self.a.shape[0] * self.a.shape[1] * self.b.shape[0]

    def slices(self, k: int) -> list[Product]:
        """Cut the product into products of at most `k` columns of A and B."""
        d = self.a.shape[1]
        if d <= k:
            return [self]
        return [
            replace(
                self,
                a=self.a[:, start : start + k].contiguous(),
                b=self.b[:, start : start + k].contiguous(),
            )
            for start in range(0, d, k)
        ]


@dataclass(frozen=True)
class LowBitProblem:
    """All products of one GEMM.

    Parameters
    ----------
    products : sequence of Product
        The low-bit GEMMs.
    shape : tuple of int
        ``(batch, n, d, h)`` of the original GEMM.
    strategy_chosen : str
        Which strategy made it, where it chose among several.
    max_digits_a, max_digits_b : int
        Digits that the largest entry of A and of B needs.
    out_of_bound_a, out_of_bound_b : int
        Entries of A and of B that do not fit one digit.
    """

    products: Sequence[Product]
    shape: tuple[int, int, int, int]
    strategy_chosen: str
    max_digits_a: int
    max_digits_b: int
    out_of_bound_a: int
    out_of_bound_b: int

    @property
    def dense_macs(self) -> int:
        """Multiplications of the original GEMM."""
        batch, n, d, h = self.shape
        return batch * n * d * h

    @property
    def low_bit_macs(self) -> int:
        """Multiplications of all products."""
        return sum(product.macs for product in self.products)

    @property
    def ratio(self) -> float:
        """The unpack ratio r; 1 for an empty GEMM."""
        return self.low_bit_macs / self.dense_macs if self.dense_macs else 1.0

    @property
    def shift_adds(self) -> int:
        """Additions of shifted products into C, beyond the first value of every entry."""
        batch, n, _, h = self.shape
        entries = sum(product.a.shape[0] * product.b.shape[0] for product in self.products)
        return max(0, entries - batch * n * h)
