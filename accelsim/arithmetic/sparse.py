"""A sparse matrix of digits, which strategies make and backends may multiply."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SparseDigits:
    """Digits of which few are non-zero, in compressed sparse rows (CSR).

    Parameters
    ----------
    starts : Tensor
        int64 ``[rows + 1]``: the entries of row i are those from ``starts[i]`` to
        ``starts[i + 1]``.
    columns : Tensor
        int64 ``[entries]``, the column of each entry.
    values : Tensor
        int8, or int16 above 8 bits, ``[entries]``.
    shape : torch.Size
        ``[rows, columns]``.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    shape: torch.Size

    @classmethod
    def from_entries(
        cls, rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]
    ) -> SparseDigits:
        """Make a matrix from entries in row order.

        Parameters
        ----------
        rows, columns : Tensor
            int64, where the entries are, row by row.
        values : Tensor
            Digits.
        shape : tuple[int, int]
            Rows and columns of the matrix.
        """
        counts = torch.bincount(rows, minlength=shape[0])
        starts = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(counts, 0, out=starts[1:])
        return cls(starts, columns, values, torch.Size(shape))

    @property
    def entries(self) -> int:
        """Number of stored entries."""
        return self.values.numel()

    @property
    def dtype(self) -> torch.dtype:
        """The type of a digit."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the digits and of their places."""
        return self.starts.nbytes + self.columns.nbytes + self.values.nbytes

    @property
    def row_of_entry(self) -> Tensor:
        """The row of each entry, int64 ``[entries]``."""
        rows = torch.arange(self.shape[0], device=self.starts.device)
        return torch.repeat_interleave(rows, self.starts.diff())

    @property
    def longest_row(self) -> int:
        """Entries of the row that has most."""
        return int(self.starts.diff().max()) if self.shape[0] else 0

    def between(self, start: int, stop: int) -> SparseDigits:
        """Return the columns from `start` up to `stop` as a matrix of their own.

        Parameters
        ----------
        start, stop : int
            Columns, from 0 on; `stop` is not included.
        """
        kept = (self.columns >= start) & (self.columns < stop)
        return SparseDigits.from_entries(
            self.row_of_entry[kept],
            self.columns[kept] - start,
            self.values[kept],
            (self.shape[0], min(stop, self.shape[1]) - start),
        )

    def transposed(self) -> SparseDigits:
        """Return the transposed matrix."""
        order = torch.argsort(self.columns, stable=True)
        return SparseDigits.from_entries(
            self.columns[order],
            self.row_of_entry[order],
            self.values[order],
            (self.shape[1], self.shape[0]),
        )

    def to_dense(self) -> Tensor:
        """Return the same matrix, zeros written out."""
        dense = torch.zeros(self.shape, dtype=self.values.dtype, device=self.values.device)
        dense[self.row_of_entry, self.columns] = self.values
        return dense
