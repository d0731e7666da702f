"""Products beyond 64 bits, put together on the host from the sums of each weight of digits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import round_once
from accelsim.types import PerOperand, Wide
from gemm_backends.cuda.fused.dense import DenseWay


def wide_integers(way: DenseWay) -> Wide:
    """Return the integers of the last run as Python integers ``[batch, n, h]``."""
    total: Wide | None = None
    for exponent, sums in way.by_weight():
        part = sums.cpu().numpy().astype(object) * (1 << exponent)
        total = part if total is None else total + part
    assert total is not None
    return total


def wide_floats(integers: Wide, scales: PerOperand[Tensor], exponent: int, out: Tensor) -> None:
    """Divide integers by the scales of their row and column, and round the quotients once.

    Parameters
    ----------
    integers : ndarray of object
        ``[batch, n, h]``.
    scales : PerOperand of Tensor
        float32, ``[1]`` or one for each row of the operand, all heads below each other.
    exponent : int
        The quotients are divided by ``2**exponent`` as well.
    out : Tensor
        Gets the result.
    """
    batch, n, h = integers.shape
    rows = np.broadcast_to(_lines(scales.a, batch, n)[:, :, None], integers.shape)
    columns = np.broadcast_to(_lines(scales.b, batch, h)[:, None, :], integers.shape)
    scale = Fraction(2) ** exponent
    values = [
        _odd(Fraction(int(c)) / (Fraction(float(x)) * Fraction(float(y)) * scale))
        for c, x, y in zip(integers.flat, rows.flat, columns.flat, strict=True)
    ]
    quotients = torch.tensor(values, dtype=torch.float64).reshape(integers.shape)
    out.copy_(round_once(quotients, out.dtype) if out.dtype is not torch.float64 else quotients)


def _lines(scale: Tensor, batch: int, rows: int) -> npt.NDArray[np.float64]:
    values = scale.cpu().numpy().astype(np.float64)
    return values.reshape(batch, rows) if values.size > 1 else np.full((batch, rows), values[0])


def _odd(value: Fraction) -> float:
    """Round to a float64 whose last bit is sticky, so that it can be rounded once more."""
    nearest = float(value)
    if Fraction(nearest) == value:
        return nearest
    beyond = -math.inf if Fraction(nearest) > value else math.inf
    other = math.nextafter(nearest, beyond)
    return nearest if int(np.float64(nearest).view(np.int64)) & 1 else other
