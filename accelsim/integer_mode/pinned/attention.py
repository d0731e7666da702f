"""Probabilities times values, so that each token's integers are its own.

The keys are the depth K of this product, so that a scale for each channel of V would change with
every new token. V is rounded for each token instead, and its scales are folded into the
probabilities, ``P'[q, t] = P[q, t] / s_V[t]``, before these are rounded for each query. The
percentile of a row of P' is one of its entries that are not 0: a masked key is exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.exactly import times_power, widened
from accelsim.arithmetic.magnitudes import nonzero_alphas
from accelsim.arithmetic.rounding import quantize
from accelsim.arithmetic.scales import ideal_scales, in_float32
from accelsim.errors import DataError
from accelsim.types import PerOperand, Request, Rounding, Wide
from workloads.tracing import GemmCall


@dataclass(frozen=True)
class Folded:
    """Both operands as integers in float32, and what the product is to be divided by.

    Parameters
    ----------
    a, b : Tensor
        Integers ``[..., queries, keys]`` and ``[..., channels, keys]``.
    scale : Tensor
        float32 ``[..., queries, 1]``.
    exponent : int
        The product is to be divided by ``2**exponent`` as well.
    """

    a: Tensor
    b: Tensor
    scale: Tensor
    exponent: int

    def request(self, names: PerOperand[str], digits: PerOperand[DigitSystem]) -> Request:
        """Return what a route is asked for, whose scales are 1.

        Parameters
        ----------
        names : PerOperand of str
            What messages call the operands.
        digits : PerOperand of DigitSystem
            The digits that each is written in.
        """
        return Request(
            shape=(self.a.shape[:-2].numel(), *self.a.shape[-2:], self.b.shape[-2]),
            device=self.a.device,
            dtype=torch.float32,
            rounding=PerOperand(self.a, self.b).map(as_they_are),
            digits=digits,
            output=torch.float32,
            names=names,
        )

    def dequantized(self, integers: Tensor | Wide, dtype: torch.dtype) -> Tensor:
        """Return the product in a floating-point type, rounded once."""
        one = torch.ones((), device=self.scale.device)
        return dequantize(
            integers, PerOperand(self.scale, one), dtype, PerOperand(self.exponent, 0)
        )


def folds(call: GemmCall) -> bool:
    """Whether a GEMM is one of probabilities times values."""
    return (call.site.op, call.phase) == ("pv", "forward")


def fold(p: Tensor, v: Tensor, rounding: PerOperand[Rounding]) -> Folded:
    """Round probabilities and values.

    Parameters
    ----------
    p : Tensor
        ``[..., queries, keys]``: float32, float16 or bfloat16.
    v : Tensor
        ``[..., channels, keys]``.
    rounding : PerOperand of Rounding
        The percentile and β of both; the rest does not matter.

    Raises
    ------
    DataError
        If an entry is NaN or infinite, or too large.
    """
    how = rounding.b
    values = quantize(v.mT, how.percentile, how.beta, "row", "nonzero", "values")
    integers = (values.operand * values.scale).round_()
    # One operation in float64 and one rounding, so that it is the same on every device.
    scales = widened(values.scale.squeeze(-1)).unsqueeze(-2) * 2.0**values.scale_exponent
    folded = (widened(p.detach().to(torch.float32)) / scales).to(torch.float32).contiguous()
    scale, exponent = _scales(folded, rounding.a)
    shifted = times_power(folded, exponent) if exponent else folded
    return Folded((shifted * scale).round_(), integers.mT, scale, exponent)


def as_they_are(integers: Tensor) -> Rounding:
    """Return the rounding that leaves integers as they are: the largest becomes itself."""
    peak = float(integers.abs().max()) if integers.numel() else 0.0
    return Rounding(percentile=100, beta=2 * (peak or 1.0))


def _scales(folded: Tensor, how: Rounding) -> tuple[Tensor, int]:
    """Return the scale of every row, by its entries that are not 0, and a power of two for all."""
    rows = folded.reshape(-1, folded.shape[-1])
    shape = (*folded.shape[:-1], 1)
    if not rows.numel():
        return torch.ones(shape, device=folded.device), 0
    if not bool(rows.isfinite().all()):
        index = (~folded.isfinite()).nonzero()[0].tolist()
        raise DataError(f"probabilities: found NaN or infinity at {index}")
    filled = rows.any(dim=-1)
    alphas, peaks = np.zeros(len(rows)), np.zeros(len(rows))
    chosen = filled.cpu().numpy()
    if chosen.any():
        alphas[chosen] = nonzero_alphas(rows[filled], how.percentile)
        peaks[chosen] = rows.abs().amax(dim=-1)[filled].cpu().numpy()
    found = in_float32(ideal_scales(alphas, peaks, how.beta), peaks, "probabilities")
    return torch.from_numpy(found.values).to(folded.device).reshape(shape), found.exponent
