"""The scales by which a route's integers are divided."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.granularity import along_columns
from accelsim.types import PerOperand


def combined(scales: PerOperand[Tensor], exponents: PerOperand[int]) -> Tensor:
    """Return the scale of every entry of the product, exactly, in float64.

    Parameters
    ----------
    scales : PerOperand of Tensor
        float32: scalars, or ``[..., n, 1]`` and ``[..., h, 1]``.
    exponents : PerOperand of int
        The powers of two by which the operands were multiplied in addition to their scales.

    Returns
    -------
    Tensor
        ``[1, 1]``, ``[..., n, h]``, or what broadcasts to it.
    """
    a, b = (scale.to(torch.float64) for scale in (scales.a, scales.b))
    return a * along_columns(b) * 2.0 ** (exponents.a + exponents.b)
