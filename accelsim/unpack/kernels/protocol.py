"""The protocol of kernels that count and write the digits of one operand, on any device."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from torch import Tensor


class Kernels(Protocol):
    """Counts and writes the digits of one operand ``[batch, n, d]``.

    The digits that lines need are on the CPU, where strategies decide; digits and whatever is as
    large as the operand are on the operand's device.

    Attributes
    ----------
    shape : tuple of int
        ``(batch, n, d)``.
    """

    shape: tuple[int, int, int]

    def integers(self) -> Tensor:
        """Return the integers ``[batch, n, d]``: int32, or int64 where the largest needs it."""

    def begin(self) -> None:
        """Queue what every strategy asks for first, on a device that works by itself."""

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need, int64 ``[batch, n]``, at least 1, on the CPU."""

    def lines(self, head: int, row_levels: Tensor) -> list[Tensor]:
        """Return the rows of a matrix that have more than 1, 2, … levels, as many as there are.

        int64, in order, where the operand lies; `row_levels` is on the CPU.
        """

    def column_levels(self) -> Tensor:
        """Return the digits that the columns need, int64 ``[batch, d]``, at least 1, on the CPU."""

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""

    def counts(self) -> Tensor:
        """Return the digits that each entry needs, uint8 ``[batch, n, d]``."""

    def outside(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return int64 rows, columns and values of what does not fit one digit, row by row."""

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits; see `accelsim.unpack.operand.IntegerOperand.digits`."""


class Survey:
    """The digits that the lines of an operand need, computed on demand.

    Parameters
    ----------
    kernels : Kernels
        Of the operand.
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    @cached_property
    def rows(self) -> Tensor:
        """Digits of the entry of each row that needs most, int64 ``[batch, n]`` on the CPU."""
        return self._kernels.row_levels()

    @cached_property
    def columns(self) -> Tensor:
        """Digits of the entry of each column that needs most, int64 ``[batch, d]`` on the CPU."""
        return self._kernels.column_levels()

    @cached_property
    def out_of_bound(self) -> tuple[int, ...]:
        """Entries of each matrix of the batch that do not fit one digit."""
        return self._kernels.out_of_bound()

    @property
    def max_digits(self) -> int:
        """Digits that the largest entry needs."""
        return int(self.rows.max()) if any(self.out_of_bound) else 1
