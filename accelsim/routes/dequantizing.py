"""From the exact integers of a route to its floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import dequantize, round_once
from accelsim.types import PerOperand, Wide


def dequantized(integers: Tensor | Wide, scales: PerOperand[Tensor], dtype: torch.dtype) -> Tensor:
    """Divide a product by the scales of its operands.

    Parameters
    ----------
    integers : Tensor or ndarray of object
        ``[..., n, h]``: integers in int64, float64 or float32, or Python's.
    scales : PerOperand of Tensor
        float32: scalars, or ``[..., n, 1]`` and ``[..., h, 1]``.
    dtype : torch.dtype
        Of the result.
    """
    device = scales.a.device
    if not isinstance(integers, Tensor):
        integers = torch.from_numpy(integers.astype(np.float64)).to(device)
    if scales.a.ndim == 0 and scales.b.ndim == 0:
        return dequantize(integers, 1.0 / (float(scales.a) * float(scales.b)), dtype)
    return round_once(integers.to(torch.float64) / combined(scales), dtype)


def combined(scales: PerOperand[Tensor]) -> Tensor:
    """Return the scale of every entry of the product, exactly, in float64.

    Returns
    -------
    Tensor
        A scalar, or ``[..., n, h]``, or what broadcasts to it.
    """
    a, b = (scale.to(torch.float64) for scale in (scales.a, scales.b))
    return a * (b if b.ndim == 0 else b.mT)
