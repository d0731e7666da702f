"""Round-to-nearest quantization without clipping (RTN), the same integers on every device."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.digits import INTEGER_BITS
from accelsim.arithmetic.exactly import times_power, widened_magnitudes
from accelsim.arithmetic.granularity import GRANULARITIES, Granularity, granularity_of
from accelsim.arithmetic.magnitudes import Floats, alpha, begin_search, nonzero_alphas, rank
from accelsim.arithmetic.precision import check_rounding_mode
from accelsim.arithmetic.scales import Scales, ideal_scales, in_float32
from accelsim.errors import DataError, InputError

__all__ = ["LIMIT", "Quantized", "Quantizing", "alpha", "begin_quantizing", "quantize", "rank"]

LIMIT = 1 << INTEGER_BITS
"""Quantized integers stay below this magnitude."""

INT32 = 1 << 31

ORDINARY = 2.0**-60, 2.0**60
"""Magnitudes and scales between which float32 needs no care."""


@dataclass(frozen=True)
class Quantized:
    """An operand and the scale that makes it integers; they are written out when asked for.

    Parameters
    ----------
    operand : Tensor
        float32, contiguous; multiplied by ``2**scale_exponent``.
    scale : Tensor
        float32: a scalar, or ``[..., rows, 1]`` for row granularity.
    largest : int
        Largest magnitude of the integers.
    scale_exponent : int
        The power of two that the operand was multiplied by; 0 unless its scale would leave
        float32.
    granularity : Granularity
        Which entries share a scale.
    scale_before : Tensor or None
        The scale of integers that were rounded earlier and are the `operand` now, whose `scale` is
        1.
    """

    operand: Tensor
    scale: Tensor
    largest: int
    scale_exponent: int = 0
    granularity: Granularity = GRANULARITIES["tensor"]
    scale_before: Tensor | None = None

    @staticmethod
    def restored(
        integers: Tensor,
        scale: Tensor,
        largest: int,
        scale_exponent: int = 0,
        granularity: str | Granularity = "tensor",
    ) -> Quantized:
        """Return an operand that was rounded earlier, of which the integers were kept.

        Parameters
        ----------
        integers : Tensor
            float32, contiguous.
        scale : Tensor
            float32: a scalar, or ``[..., rows, 1]`` for row granularity.
        largest, scale_exponent, granularity
            As in `Quantized`.
        """
        one = torch.ones((), dtype=torch.float32, device=integers.device)
        shares = granularity_of(granularity)
        return Quantized(integers, one, largest, scale_exponent, shares, scale)

    @property
    def divisor(self) -> Tensor:
        """The scale of the integers, in the shape of `scale`: by which products are divided."""
        return self.scale if self.scale_before is None else self.scale_before

    @property
    def rounded(self) -> Tensor:
        """The integers in float32, which holds them exactly: they were rounded there."""
        if self.scale_before is not None:
            return self.operand
        return (self.operand * self.scale).round_()

    @property
    def dtype(self) -> torch.dtype:
        """The type of `values`: int32, or int64 where the largest needs it."""
        return torch.int32 if self.largest < INT32 else torch.int64

    @cached_property
    def values(self) -> Tensor:
        """The integers ``rint(x * scale)``, the shape of the operand."""
        return self.rounded.to(self.dtype)


@dataclass(frozen=True)
class Quantizing:
    """An operand that is being rounded.

    Parameters
    ----------
    operand : Tensor
        float32, contiguous.
    scale : Tensor or None
        What its scale will be on a GPU that works it out by itself, in the shape of
        `Quantized.scale`. It holds only if what `finish` returns has this very tensor.
    finish : callable
        What waits for the search of the percentile and returns the operand, rounded; it raises what
        is wrong with the entries.
    """

    operand: Tensor
    scale: Tensor | None
    finish: Callable[[], Quantized]


def check_type(x: Tensor, name: str) -> None:
    """Refuse an operand whose entries float32 does not hold.

    Parameters
    ----------
    x : Tensor
        Of any type.
    name : str
        What messages call the operand.

    Raises
    ------
    DataError
        If it is float64, or not of floating-point numbers.
    """
    if not x.is_floating_point() or x.dtype == torch.float64:
        hint = "; convert it with .float()" if x.dtype == torch.float64 else ""
        raise DataError(f"{name}: found {x.dtype}; expected float32, float16 or bfloat16{hint}")


def quantize(
    x: Tensor,
    percentile: float,
    beta: float,
    granularity: str | Granularity = "tensor",
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
    granularity : {"tensor", "row"} or Granularity
        One scale for the tensor, all heads together, or one for each row.
    zero_alpha : {"error", "nonzero"}
        What to do where the scale is undefined: raise, or take the percentile over the non-zero
        entries of the tensor, or of the row.
    name : str
        What messages call the operand.

    Returns
    -------
    Quantized
        The integers, the scales and the largest magnitude.

    Raises
    ------
    DataError
        If an entry is NaN or infinite, if the scale is undefined, or if an integer reaches 2^62.
    InputError
        If `beta` is not a positive number, there is no such granularity, or the processor is set to
        round to another float than the nearest.

    Notes
    -----
    ``s = beta / (2 * alpha)`` is rounded to float32 once and the product ``x * s`` is float32
    (Zeng, Sankaralingam, Singh, ICML 2024, section 2).

    Examples
    --------
    The second largest of four magnitudes is their 50th percentile; it becomes 15, and nothing is
    clipped:

    >>> import torch
    >>> from accelsim.quantize import quantize
    >>> q = quantize(torch.tensor([[1.0, -0.5, 0.25, 100.0]]), percentile=50, beta=30)
    >>> q.values.tolist(), q.scale.item(), q.largest
    ([[15, -8, 4, 1500]], 15.0, 1500)
    """
    return begin_quantizing(x, percentile, beta, granularity, zero_alpha, name).finish()


def begin_quantizing(
    x: Tensor,
    percentile: float,
    beta: float,
    granularity: str | Granularity = "tensor",
    zero_alpha: str = "error",
    name: str = "operand",
) -> Quantizing:
    """Do what `quantize` does in two steps, so that a GPU works on without waiting for the host.

    Parameters
    ----------
    x, percentile, beta, granularity, zero_alpha, name
        As in `quantize`.

    Returns
    -------
    Quantizing
        The operand; its `finish` waits, and raises what is wrong with the entries.

    Raises
    ------
    DataError
        If `x` is of another type than `quantize` takes, or on the device ``meta``.
    InputError
        If `beta` is not a positive number, there is no such granularity, or the processor is set to
        round to another float than the nearest.
    """
    check_rounding_mode()
    check_type(x, name)
    if x.is_meta:
        raise DataError(f"{name}: lies on the device 'meta', which has no values; load the weights")
    if not (beta > 0 and math.isfinite(beta)):
        raise InputError(f"beta: found {beta}; allowed: a number above 0")
    shares = granularity_of(granularity)
    values = x.detach().to(torch.float32).contiguous()
    groups = shares.groups(values)
    search = begin_search(groups, percentile, beta)
    scale = None if search.scales is None else shares.scale(search.scales, values.shape)

    def finish() -> Quantized:
        found = search.wait()
        scales, largest = _scales(values, groups, found, percentile, beta, zero_alpha, name)
        right = scale
        if right is None or scales.exponent or not np.array_equal(found[2], scales.values):
            on_host = shares.scale(torch.from_numpy(scales.values), values.shape)
            right = on_host.to(values.device, non_blocking=True)
        operand = times_power(values, scales.exponent) if scales.exponent else values
        return Quantized(operand, right, largest, scales.exponent, shares)

    return Quantizing(values, scale, finish)


def _scales(
    values: Tensor,
    groups: Tensor,
    found: Floats,
    percentile: float,
    beta: float,
    zero_alpha: str,
    name: str,
) -> tuple[Scales, int]:
    """Make scales of what `begin_search` found; return the largest integer's magnitude, too."""
    ordinary = _ordinary_scale(found, beta)
    if ordinary is not None:
        return ordinary
    if not np.isfinite(found[1]).all():
        index = (~torch.isfinite(values)).nonzero()[0].tolist()
        raise DataError(
            f"{name}: found {values[tuple(index)].item()} at {index}; all entries must be finite"
        )
    alphas, peaks = widened_magnitudes(found[:2])
    undefined = (alphas == 0) & (peaks != 0)
    if undefined.any():
        if zero_alpha != "nonzero":
            raise DataError(
                f"{name}: the scale is undefined: the {percentile}th percentile of the magnitudes "
                "is 0 while the tensor is not zero; raise the percentile or set zero_alpha: nonzero"
            )
        chosen = groups[torch.from_numpy(undefined).to(groups.device)]
        alphas[undefined] = widened_magnitudes(nonzero_alphas(chosen, percentile))
    ideal = ideal_scales(alphas, peaks, beta)
    # Far beyond the limit no power of two helps; near it the float32 product decides.
    _check_limit((peaks * ideal).max(initial=0), 2 * LIMIT, percentile, name)
    scales = in_float32(ideal, peaks, name)
    scaled_peaks = (peaks * 2.0**scales.exponent).astype(np.float32)
    largest = float(np.rint(scaled_peaks * scales.values).max(initial=0))
    _check_limit(largest, LIMIT, percentile, name)
    return scales, int(largest)


def _ordinary_scale(found: Floats, beta: float) -> tuple[Scales, int] | None:
    """Do what `_scales` does for one group whose numbers are far from the limits of float32.

    A GPU waits for this, and a few operations on Python's floats are enough.
    """
    if found.shape[1] != 1:
        return None
    alpha, peak = found[:2, 0].tolist()
    least, most = ORDINARY
    # NaN is neither at least the one nor at most the other.
    if not (least <= alpha <= peak <= most and least <= beta / (2 * alpha) <= most):
        return None
    scale = np.array([beta / (2 * alpha)], np.float32)
    # Exact in float64, rounded to float32 as the entry itself is, then to an integer.
    largest = round(ctypes.c_float(peak * scale.item()).value)
    return (Scales(scale, 0), largest) if largest < LIMIT else None


def _check_limit(largest: float, limit: int, percentile: float, name: str) -> None:
    if largest >= limit:
        raise DataError(
            f"{name}: an entry becomes {largest:.0f}, which is not below 2^{INTEGER_BITS}; "
            f"choose a smaller beta{' or a higher percentile' if percentile < 100 else ''}"
        )
