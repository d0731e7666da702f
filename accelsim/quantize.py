"""Round-to-nearest quantization without clipping (RTN), the same integers on every device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor

from accelsim.errors import DataError

LIMIT = 2**31
"""Quantized integers stay below this magnitude."""


@dataclass(frozen=True)
class Quantized:
    """An operand rounded to integers.

    Parameters
    ----------
    values : Tensor
        ``rint(x * scale)``, int32, the shape of the operand.
    scale : Tensor
        float32: a scalar, or ``[..., rows, 1]`` for row granularity.
    """

    values: Tensor
    scale: Tensor


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
    magnitudes = x.abs()
    if k == 1:
        return magnitudes.amax(dim=-1)
    if x.device.type == "cpu":
        partitioned = np.partition(magnitudes.numpy(), count - k, axis=-1)
        return torch.from_numpy(np.ascontiguousarray(partitioned[..., count - k]))
    return magnitudes.sort(dim=-1).values[..., count - k]


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
    _check_finite(values, name)
    rows = values if granularity == "row" else values.reshape(1, -1)
    scales = _scales(rows, percentile, beta, zero_alpha, name)
    scale = scales.unsqueeze(-1) if granularity == "row" else scales.reshape(())
    rounded = (values * scale).round_()
    if rounded.numel() and float(rounded.abs().max()) >= LIMIT:
        raise DataError(
            f"{name}: an entry becomes {float(rounded.abs().max()):.0f}, which is not below 2^31; "
            f"choose a smaller beta or a higher percentile"
        )
    return Quantized(rounded.to(torch.int32), scale)


def _check_finite(values: Tensor, name: str) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        index = (~finite).nonzero()[0].tolist()
        raise DataError(
            f"{name}: found {values[tuple(index)].item()} at {index}; all entries must be finite"
        )


def _scales(rows: Tensor, percentile: float, beta: float, zero_alpha: str, name: str) -> Tensor:
    """Return the float32 scale of each row of ``[..., count]``."""
    if rows.numel() == 0:
        return torch.ones(rows.shape[:-1], dtype=torch.float32, device=rows.device)
    alphas = alpha(rows, percentile).to(torch.float64)
    scales = (beta / (2 * alphas)).to(torch.float32)
    zero = (rows == 0).all(dim=-1)
    scales = torch.where(zero, torch.ones_like(scales), scales)
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
