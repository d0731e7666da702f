"""What the kernels of every kind of device have in common."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import largest
from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import INT32, LIMIT, Quantized
from accelsim.errors import DataError


class OperandKernels:
    """The parts of `Kernels` that are the same on all devices.

    Parameters
    ----------
    operand : Tensor or Quantized
        Integers, or floats with their scale.
    system : DigitSystem
        The digits to write it in.
    """

    def __init__(self, operand: Tensor | Quantized, system: DigitSystem) -> None:
        self._operand, self._system = operand, system
        self.shape = batched_shape(operand)

    def integers(self) -> Tensor:
        """Return the integers."""
        return self._integers

    def begin(self) -> None:
        """Do nothing ahead."""

    def lines(self, head: int, row_levels: Tensor) -> list[Tensor]:
        """Return the rows that have more than 1, 2, … levels."""
        tensor = self._operand.operand if isinstance(self._operand, Quantized) else self._operand
        most = int(row_levels.max()) if row_levels.numel() else 1
        found = ((row_levels > level).nonzero().squeeze(1) for level in range(1, most))
        return [rows.to(tensor.device, non_blocking=True) for rows in found]

    @cached_property
    def _integers(self) -> Tensor:
        return batched_integers(self._operand)


def batched_shape(operand: Tensor | Quantized) -> tuple[int, int, int]:
    """Return ``(batch, n, d)``; a matrix is a batch of one."""
    shape = (operand.operand if isinstance(operand, Quantized) else operand).shape
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, shape[0], shape[1])


def batched_integers(operand: Tensor | Quantized) -> Tensor:
    """Return the integers as ``[batch, n, d]``: int32, or int64 where the largest needs it.

    Raises
    ------
    DataError
        If an integer is not below 2^62.
    """
    values = operand.values if isinstance(operand, Quantized) else operand
    if values.dtype == torch.int64:
        top = largest(values)
        if top >= LIMIT:
            raise DataError(
                f"an operand has an integer of magnitude {top}; they must be below 2^62"
            )
        if top < INT32:
            values = values.to(torch.int32)
    elif values.dtype != torch.int32:
        values = values.to(torch.int32)
    return values.reshape(batched_shape(operand))
