"""An operand on its way into digits: what strategies ask of it, on any device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import Quantized, Quantizing
from accelsim.unpack.kernels import Kernels, Survey, Written, begin_kernels, kernels_for


@dataclass(frozen=True)
class IntegerOperand:
    """An operand to unpack; whatever depends on it alone is computed once and kept.

    Parameters
    ----------
    values : Tensor or Quantized
        Integers ``[n, d]`` or ``[batch, n, d]``, magnitudes below 2^62. Those of a `Quantized` are
        rounded as the digits are written, so that they need no memory of their own.
    system : DigitSystem
        The digits to write it in.
    prepared : bool
        Whether the digits of whole matrices are kept, for an operand that meets many others, as
        weights do.
    ahead : Written or None
        Digits that a device was told to write before the host knew the scale.
    """

    values: Tensor | Quantized
    system: DigitSystem
    prepared: bool = False
    ahead: Written | None = None

    def __post_init__(self) -> None:
        self.kernels.begin()

    @staticmethod
    def begin(quantizing: Quantizing, system: DigitSystem) -> Callable[[], IntegerOperand]:
        """Queue the digits of an operand that is being rounded, where a device works by itself.

        Parameters
        ----------
        quantizing : Quantizing
            The operand.
        system : DigitSystem
            The digits to write it in.

        Returns
        -------
        callable
            What waits until it is rounded; it raises what is wrong with its entries.
        """
        ahead = begin_kernels(quantizing, system)

        def finish() -> IntegerOperand:
            operand = IntegerOperand(quantizing.finish(), system, ahead=ahead)
            if ahead is not None:
                # Taken in while the device works on what was queued behind it.
                operand.kernels.row_levels()
            return operand

        return finish

    @cached_property
    def kernels(self) -> Kernels:
        """The kernels that count and write the digits, on the operand's device."""
        return kernels_for(self.values, self.system, self.ahead)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(batch, n, d)``."""
        return self.kernels.shape

    @property
    def device(self) -> torch.device:
        """The device of the operand and of its digits."""
        return (self.values.operand if isinstance(self.values, Quantized) else self.values).device

    @property
    def heads(self) -> Tensor:
        """The integers as ``[batch, n, d]``: int32, or int64 where the largest needs it."""
        return self.kernels.integers()

    @cached_property
    def survey(self) -> Survey:
        """Digits that rows and columns need."""
        return Survey(self.kernels)

    @cached_property
    def counts(self) -> Tensor:
        """Digits that each entry needs, ``[batch, n, d]`` uint8."""
        return self.kernels.counts()

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix of the batch in digits, one for each level of its rows.

        Parameters
        ----------
        head : int
            The matrix of the batch.
        row_levels : Tensor
            int64 ``[n]`` on the CPU, at least 1: how many lines each row is unpacked into.
        columns : Tensor or None
            int64 ``[c]`` on the CPU, the columns to write; None for all in order, from their
            first level.
        skip : Tensor
            int64 ``[c]`` on the CPU: the level of each column that is written, from 0: how many of
            the digits beyond those of its row an entry has written in levels before.
        last : Tensor
            bool ``[c]`` on the CPU: whether this is the column's last level, which takes all that
            is left.

        Returns
        -------
        Tensor
            ``[sum(row_levels), c]`` digits, level by level. An entry's digits go down the levels of
            its row first, then along those of its column.
        """
        if not self.prepared or columns is not None:
            return self.kernels.digits(head, row_levels, columns, skip, last)
        key = b"".join(tensor.numpy().tobytes() for tensor in (row_levels, skip, last))
        if self._kept.get(head, (b"",))[0] != key:
            digits = self.kernels.digits(head, row_levels, None, skip, last)
            self._kept[head] = key, digits
        return self._kept[head][1]

    def outside(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Find the entries of one matrix of the batch that do not fit one digit.

        Parameters
        ----------
        head : int
            Which matrix of the batch.

        Returns
        -------
        tuple of Tensor
            int64: their rows, their columns and their values, row by row.
        """
        if not self.survey.out_of_bound[head]:
            none = torch.empty(0, dtype=torch.int64, device=self.device)
            return none, none, none
        return self.kernels.outside(head)

    @cached_property
    def notes(self) -> dict[Hashable, Any]:
        """Results that strategies keep about this operand alone, by a key of their own."""
        return {}

    def kept(self, head: int) -> Tensor | None:
        """Return the digits that a prepared operand keeps of one matrix of the batch, if any.

        Parameters
        ----------
        head : int
            Which matrix of the batch.
        """
        return self._kept[head][1] if head in self._kept else None

    @cached_property
    def _kept(self) -> dict[int, tuple[bytes, Tensor]]:
        return {}
