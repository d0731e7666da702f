"""The low-bit problem: the products that give C, and how they are put together.

``C = sum_g P_g (A_g B_g^T) Q_g^T``: every strategy's result has this one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits

Digits = Tensor | SparseDigits


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
        int64 ``[count]``, the lines of C, all different; None for all lines in order.
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
    a, b : Tensor or SparseDigits
        Digits ``[n_g, d_g]`` and ``[h_g, d_g]``, int8 or int16.
    rows, columns : LineMap
        Where the rows and the columns of the result go in C.
    exponent : int
        The result is multiplied by ``2**exponent``.
    head : int
        The matrix of the batch that it belongs to.
    """

    a: Digits
    b: Digits
    rows: LineMap
    columns: LineMap
    exponent: int
    head: int = 0

    @property
    def is_sparse(self) -> bool:
        """Whether an operand is sparse."""
        return isinstance(self.a, SparseDigits) or isinstance(self.b, SparseDigits)

    @property
    def macs(self) -> int:
        """Low-bit multiplications: those with a stored entry, where an operand is sparse."""
        a, b = self.a, self.b
        if isinstance(a, SparseDigits):
            if isinstance(b, SparseDigits):
                d = a.shape[1]
                in_a, in_b = (x.columns.bincount(minlength=d) for x in (a, b))
                return int((in_a * in_b).sum())
            return a.entries * b.shape[0]
        if isinstance(b, SparseDigits):
            return a.shape[0] * b.entries
        return a.shape[0] * a.shape[1] * b.shape[0]

    @property
    def sparse_macs(self) -> int:
        """Those with a sparse operand."""
        return self.macs if self.is_sparse else 0

    @property
    def longest_sum(self) -> int:
        """A bound on the multiplications that make up one entry of the result."""
        bounds = [self.a.shape[1]]
        bounds += [x.longest_row for x in (self.a, self.b) if isinstance(x, SparseDigits)]
        return min(bounds)

    def slices(self, k: int) -> Sequence[Product]:
        """Cut the product into products of at most `k` columns of A and B.

        Parameters
        ----------
        k : int
            The most columns that a product may have.

        Returns
        -------
        Sequence[Product]
            The products, whose sum is this one.
        """
        d = self.a.shape[1]
        if d <= k:
            return [self]
        return [
            replace(self, a=_between(self.a, start, k), b=_between(self.b, start, k))
            for start in range(0, d, k)
        ]

    def column_by_column(self) -> list[Product]:
        """Write a product with a sparse operand as dense products of one column each.

        They hold only the stored entries, so that they take as many multiplications: this
        is how a backend without a sparse product runs it.

        Returns
        -------
        list[Product]
            One product for each column that has stored entries.
        """
        lines_a, lines_b = _lines_by_column(self.a), _lines_by_column(self.b)
        products = []
        for column in sorted(lines_a.keys() & lines_b.keys()):
            rows, values_a = lines_a[column]
            columns, values_b = lines_b[column]
            products.append(
                replace(
                    self,
                    a=values_a.unsqueeze(1),
                    b=values_b.unsqueeze(1),
                    rows=chosen_lines(self.rows, rows),
                    columns=chosen_lines(self.columns, columns),
                )
            )
        return products


def macs(products: Iterable[Product]) -> int:
    """Return the low-bit multiplications of products."""
    return sum(product.macs for product in products)


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
    k_pieces : int
        The most pieces that the K of one product was cut into for the accumulator.
    """

    products: Sequence[Product]
    shape: tuple[int, int, int, int]
    strategy_chosen: str
    max_digits_a: int
    max_digits_b: int
    out_of_bound_a: int
    out_of_bound_b: int
    k_pieces: int = 1

    @property
    def dense_macs(self) -> int:
        """Multiplications of the original GEMM."""
        batch, n, d, h = self.shape
        return batch * n * d * h

    @property
    def low_bit_macs(self) -> int:
        """Multiplications of all products."""
        return macs(self.products)

    @property
    def correction_macs(self) -> int:
        """Multiplications beyond those of the original GEMM, the base of lowest digits."""
        return self.low_bit_macs - self.dense_macs

    @property
    def sparse_macs(self) -> int:
        """Multiplications with a sparse operand."""
        return sum(product.sparse_macs for product in self.products)

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

    @property
    def gather_bytes(self) -> int:
        """Bytes of the products' digits beyond one copy of A and of B."""
        batch, n, d, h = self.shape
        total = sum(product.a.nbytes + product.b.nbytes for product in self.products)
        digit = min((x.a.dtype.itemsize for x in self.products), default=0)
        return max(0, total - batch * (n + h) * d * digit)

    @property
    def scatter_bytes(self) -> int:
        """Bytes of the int64 C that `shift_adds` read and write."""
        return 2 * 8 * self.shift_adds


def _between(digits: Digits, start: int, count: int) -> Digits:
    stop = start + count
    if isinstance(digits, SparseDigits):
        return digits.between(start, stop)
    return digits[:, start:stop].contiguous()


def _lines_by_column(digits: Digits) -> dict[int, tuple[Tensor | None, Tensor]]:
    """Return the lines (None for all) and the values of every column that holds any."""
    if isinstance(digits, Tensor):
        return {column: (None, values) for column, values in enumerate(digits.unbind(1))}
    order = torch.argsort(digits.columns, stable=True)
    columns, counts = torch.unique_consecutive(digits.columns[order], return_counts=True)
    sizes = counts.tolist()
    lines, values = (torch.split(x[order], sizes) for x in (digits.row_of_entry, digits.values))
    return dict(zip(columns.tolist(), zip(lines, values, strict=True), strict=True))


def chosen_lines(line_map: LineMap, lines: Tensor | None) -> LineMap:
    """Return where some of a product's lines, given in order (None for all), go."""
    if lines is None:
        return line_map
    segments, start = [], 0
    for segment in line_map:
        own = lines[(lines >= start) & (lines < start + segment.count)] - start
        index = own if segment.index is None else segment.index[own]
        segments.append(Segment(own.numel(), segment.exponent, index))
        start += segment.count
    return tuple(segments)
