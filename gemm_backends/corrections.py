"""Single high digits, whose products an accelerator adds to the sums of a dense product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits


@dataclass(frozen=True)
class HighDigits:
    """The high digits of one operand: its values less the dense matrix of low digits.

    Parameters
    ----------
    digits : SparseDigits
        ``[lines, d]``, digits of the operand's width; a line holds one digit level of one row.
    index : Tensor
        int64 ``[lines]``: the row of the operand.
    exponent : Tensor
        int64 ``[lines]``: a digit is multiplied by this power of two.
    """

    digits: SparseDigits
    index: Tensor
    exponent: Tensor

    def per_row(self, rows: int) -> Tensor:
        """Return how many digits each of an operand's `rows` rows has, int64 ``[rows]``.

        Parameters
        ----------
        rows : int
            Rows of the operand.
        """
        return self.index.new_zeros(rows).index_add_(0, self.index, self.digits.starts.diff())

    def per_group(self, group_of_row: Tensor, groups: int) -> Tensor:
        """Count the digits of groups of rows in every column, float64 ``[groups, d]``.

        Parameters
        ----------
        group_of_row : Tensor
            int64, the group of every row of the operand.
        groups : int
            How many there are.

        Returns
        -------
        Tensor
            The counts.
        """
        d = self.digits.shape[1]
        group = group_of_row[self.index[self.digits.row_of_entry]]
        counts = torch.bincount(group * d + self.digits.columns, minlength=groups * d)
        return counts.reshape(groups, d).to(torch.float64)


@dataclass(frozen=True)
class Corrections:
    """The high digits of both operands of one product.

    A high digit of A meets the low digits and the high digits of B in its column, and the other way
    round: ``(A0 + A') (B0 + B')^T - A0 B0^T``.

    Parameters
    ----------
    a, b : HighDigits
        High digits of A and of B.
    """

    a: HighDigits
    b: HighDigits

    @property
    def pairs(self) -> int:
        """Products of two high digits."""
        x, y = (side.digits for side in (self.a, self.b))
        d = x.shape[1]
        in_a, in_b = (side.columns.bincount(minlength=d) for side in (x, y))
        return int((in_a * in_b).sum())

    def macs(self, n: int, h: int) -> int:
        """Multiplications of all corrections of an ``[n, h]`` product.

        Parameters
        ----------
        n, h : int
            Rows and columns of the product.

        Returns
        -------
        int
            The number of multiplications.
        """
        return self.a.digits.entries * h + self.b.digits.entries * n + self.pairs
