"""The integers of an operand as every kind of kernel takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import largest
from accelsim.arithmetic.rounding import INT32, LIMIT, Quantized
from accelsim.errors import DataError


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
