"""Round-to-nearest quantization without clipping (RTN), the same integers on every device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.percentile import kth_largest_magnitude, largest_magnitude
from accelsim.errors import DataError

LIMIT = 2**31
"""Quantized integers stay below this magnitude."""


@dataclass(frozen=True)
class Quantized:
    """An operand and the scale that makes it integers; they are written out when asked for.

    Parameters
    ----------
    operand : Tensor
        float32, contiguous.
    scale : Tensor
        float32: a scalar, or ``[..., rows, 1]`` for row granularity.
    largest : int
        Largest magnitude of the integers.
    """

    operand: Tensor
    scale: Tensor
    largest: int

    @cached_property
    def values(self) -> Tensor:
        """The integers ``rint(x * scale)``, int32, the shape of the operand."""
        return (self.operand * self.scale).round_().to(torch.int32)


def rank(count: int, percentile: float) -> int:
    """Return k such that the k-th largest of `count` magnitudes is the percentile, exactly."""
    share = (100 - Decimal(str(percentile))) / 100
    return max(1, int(count * share))


def alpha(x: Tensor, percentile: float) -> Tensor:
    """Return the k-th largest magnitude of each row of `x`.

    Parameters
    ----------
    x : Tensor
        ``[..., count]``, float32, ``count`` at least 1.
    percentile : float
        In (0, 100]; ``k = max(1, floor(count * (100 - percentile) / 100))``.

    Returns
    -------
    Tensor
        ``[...]``, float32.
    """
    count = x.shape[-1]
    k = rank(count, percentile)
    if k == 1:
        return _peaks(x)
    if x.device.type != "cpu":
        return x.abs().topk(k, dim=-1, sorted=False).values.amin(dim=-1)
    if x.numel() == count:
        return torch.full(x.shape[:-1], kth_largest_magnitude(x.numpy(), k))
    partitioned = np.partition(x.abs().numpy(), count - k, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(partitioned[..., count - k]))


def quantize(
    x: Tensor,
    percentile: float,
    beta: float,
    granularity: str = "tensor",
    zero_alpha: str = "error",
    name: str = "operand",
) -> Quantized:
    """Round an operand to integers without clipping.

    Parameters
    ----------
    x : Tensor
        ``[n, d]`` or ``[batch, n, d]``, float32, float16 or bfloat16, any strides, any device.
    percentile : float
        Which magnitude is mapped to ``beta / 2``, in (0, 100].
    beta : float
        Number of integer steps that the central `percentile` of the values span.
    granularity : {"tensor", "row"}
        One scale for the tensor, all heads together, or one for each row.
    zero_alpha : {"error", "nonzero"}
        What to do where the scale is undefined: raise, or take the percentile over the non-zero
        entries.
    name : str
        What messages call the operand.

    Raises
    ------
    DataError
        If an entry is NaN or infinite, if the scale is undefined, or if an integer reaches 2^31.

    Notes
    -----
    ``s = beta / (2 * alpha)`` is rounded to float32 once and the product ``x * s`` is float32
    (Zeng, Sankaralingam, Singh, ICML 2024, section 2).
    """
    if not x.is_floating_point() or x.dtype == torch.float64:
        raise DataError(f"{name}: found {x.dtype}; expected float32, float16 or bfloat16")
    values = x.detach().to(torch.float32).contiguous()
    rows = values if granularity == "row" else values.reshape(1, -1)
    peaks = _peaks(rows)
    if not bool(torch.isfinite(peaks).all()):
        index = (~torch.isfinite(values)).nonzero()[0].tolist()
        raise DataError(
            f"{name}: found {values[tuple(index)].item()} at {index}; all entries must be finite"
        )
    scales = _scales(rows, peaks, percentile, beta, zero_alpha, name)
    largest = float((peaks * scales).round_().max()) if peaks.numel() else 0.0
    if largest >= LIMIT:
        raise DataError(
            f"{name}: an entry becomes {largest:.0f}, which is not below 2^31; "
            f"choose a smaller beta or a higher percentile"
        )
    scale = scales.unsqueeze(-1) if granularity == "row" else scales.reshape(())
    return Quantized(values, scale, int(largest))


def _peaks(rows: Tensor) -> Tensor:
    """Return the largest magnitude of each row, 0 for an empty one; NaN and infinity show."""
    if rows.numel() == 0:
        return rows.new_zeros(rows.shape[:-1])
    if rows.numel() == rows.shape[-1] and rows.device.type == "cpu":
        return torch.full(rows.shape[:-1], largest_magnitude(rows.numpy()))
    low, high = rows.aminmax(dim=-1)
    return torch.maximum(-low, high)


def _scales(
    rows: Tensor, peaks: Tensor, percentile: float, beta: float, zero_alpha: str, name: str
) -> Tensor:
    """Return the float32 scale of each row of ``[..., count]``."""
    if rows.numel() == 0:
        return torch.ones_like(peaks)
    alphas = alpha(rows, percentile).to(torch.float64)
    scales = (beta / (2 * alphas)).to(torch.float32)
    scales = torch.where(peaks == 0, torch.ones_like(scales), scales)
    undefined = ~(torch.isfinite(scales) & (scales > 0))
    for index in undefined.nonzero().tolist():
        where = tuple(index)
        value = float(alphas[where])
        if zero_alpha == "nonzero":
            row = rows[where]
            value = float(alpha(row[row != 0], percentile))
            scales[where] = torch.tensor(beta / (2 * value), dtype=torch.float64).float()
        if not (math.isfinite(float(scales[where])) and float(scales[where]) > 0):
            raise DataError(
                f"{name}: the scale is undefined: the {percentile}th percentile of the magnitudes "
                f"is {value:g} while the tensor is not zero; raise the percentile"
                + ("" if zero_alpha == "nonzero" else " or set zero_alpha: nonzero")
            )
    return scales
