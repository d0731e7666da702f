"""The lanes beside an array that take single high digits, and the clocks they need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gemm_backends.corrections import Corrections, HighDigits


@dataclass(frozen=True)
class Lanes:
    """Multipliers that correct the sums of an output-stationary array while it runs.

    A lane multiplies a digit of one operand's line by a high digit of the other operand. Up to a
    row of the array, all lanes work on one high digit: ``ceil(columns / count)`` clocks for one of
    A. More lanes form banks of one row each, a power of two of them; bank g takes the high digits
    of the rows g, g + banks, and so on. Those of B are taken in the same way against the rows of
    A, after those of A. The product of two high digits takes a bank of A one clock.

    Parameters
    ----------
    count : int
        Lanes, from 1 to ``rows * columns``.
    rows, columns : int
        Of the array.

    Raises
    ------
    ValueError
        If `count` is out of range.
    """

    count: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        most = self.rows * self.columns
        if not 1 <= self.count <= most:
            raise ValueError(
                f"correction_lanes must be from 0 (none) to {most}, the places of the array, "
                f"got {self.count}"
            )

    def banks(self, across: int, down: int) -> int:
        """Return how many banks take the high digits of `down` lines that are `across` long.

        With a power of two, more banks share the lines of fewer: more lanes are never slower.
        """
        most = max(1, min(self.count // across, down))
        return 1 << (most.bit_length() - 1)

    def clocks(self, n: int, h: int, corrections: Corrections) -> Tensor:
        """Count the clocks of the lanes for every tile of the array.

        Parameters
        ----------
        n, h : int
            Rows of A and of B.
        corrections : Corrections
            Their high digits.

        Returns
        -------
        Tensor
            float64 ``[tiles of n, tiles of h]``, of whole numbers.
        """
        of_a = _Side(corrections.a, n, self.rows, self.banks(self.columns, self.rows))
        of_b = _Side(corrections.b, h, self.columns, self.banks(self.rows, self.columns))
        steps_a = _steps(of_b.extents, min(self.count, self.columns))
        steps_b = _steps(of_a.extents, min(self.count, self.rows))
        in_a = of_a.in_banks[:, None, :] * steps_a[None, :, None]
        met = of_a.by_column @ of_b.by_column_of_tile.T
        tiles = len(of_a.extents), len(of_b.extents)
        in_a = in_a + met.reshape(tiles[0], of_a.banks, tiles[1]).transpose(1, 2)
        in_b = of_b.in_banks[None, :, :] * steps_b[:, None, None]
        return in_a.amax(2) + in_b.amax(2)


class _Side:
    """The high digits of one operand, by tiles of the array and by banks.

    Parameters
    ----------
    high : HighDigits
        The digits.
    lines : int
        Rows of the operand.
    size : int
        Of them in a tile.
    banks : int
        Which take them in turn.
    """

    def __init__(self, high: HighDigits, lines: int, size: int, banks: int) -> None:
        device = high.index.device
        line = torch.arange(lines, device=device)
        tiles = -(-lines // size)
        self.banks = banks
        self.extents = (lines - size * torch.arange(tiles, device=device)).clamp(max=size)
        bank = line // size * banks + line % size % banks
        self.by_column = high.per_group(bank, tiles * banks)
        self.in_banks = self.by_column.sum(1).reshape(tiles, banks)

    @property
    def by_column_of_tile(self) -> Tensor:
        """Digits of a tile in every column, ``[tiles, d]``."""
        return self.by_column.reshape(-1, self.banks, self.by_column.shape[1]).sum(1)


def _steps(extents: Tensor, at_once: int) -> Tensor:
    return ((extents + at_once - 1) // at_once).to(torch.float64)
