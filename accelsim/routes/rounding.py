"""Round an operand as a request asks."""

from __future__ import annotations

from torch import Tensor

from accelsim.arithmetic.rounding import Quantized, Quantizing, begin_quantizing
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
        ``[rows, d]`` or ``[batch, rows, d]``: float32, float16 or bfloat16.

    Raises
    ------
    DataError
        If `x` is of another type, an entry is NaN or infinite, or the scale is undefined.
    """
    return begin_rounding(request, side, x).finish()


def begin_rounding(request: Request, side: Side, x: Tensor) -> Quantizing:
    """Do what `rounded` does in two steps, so that a GPU works on without waiting for the host."""
    how = request.rounding.of(side)
    return begin_quantizing(
        x, how.percentile, how.beta, how.granularity, how.zero_alpha, request.names.of(side)
    )
