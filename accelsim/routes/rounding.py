"""Round an operand as a request asks."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import Quantized, quantize
from accelsim.types import Request, Side


def rounded(request: Request, side: Side, x: Tensor) -> Quantized:
    """Round one operand to integers without clipping.

    Parameters
    ----------
    request : Request
        How; its names are those in messages.
    side : {"a", "b"}
        Which operand `x` is.
    x : Tensor
        ``[rows, d]`` or ``[batch, rows, d]``; float64 is shortened to float32 first.

    Raises
    ------
    DataError
        If an entry is NaN or infinite, or the scale is undefined.
    """
    how = request.rounding.of(side)
    short = x.float() if x.dtype == torch.float64 else x
    return quantize(
        short, how.percentile, how.beta, how.granularity, how.zero_alpha, request.names.of(side)
    )
