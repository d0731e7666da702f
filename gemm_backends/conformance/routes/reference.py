"""Expected results of a route: rounding by a sort, the oracle, and one exact rounding.

Nothing here is shared with a route: no kernel, no digits, no selection.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.oracle import Wide, oracle
from accelsim.types import PerOperand, Rounding

ORACLE_LIMIT = 1 << 31
"""Magnitudes up to which the oracle multiplies; larger integers are multiplied by Python."""

CLOSE = 2.0**-45
"""Quotients this close to the middle of two floats, by their float64 value, are compared exactly.

The float64 value itself is off by less than 2^-50 of it.
"""

NO_EXPONENTS = PerOperand(0, 0)


@dataclass(frozen=True)
class Rounded:
    """An operand as integers.

    Parameters
    ----------
    integers : Tensor
        int64, the shape of the operand.
    scale : Tensor
        float32: a scalar, or ``[..., rows, 1]`` by rows.
    exponent : int
        The operand was multiplied by ``2**exponent`` first.
    """

    integers: Tensor
    scale: Tensor
    exponent: int = 0

    @property
    def whole_scale(self) -> Tensor:
        """The scale with the power of two, in float64, exactly."""
        return self.scale.to(torch.float64) * 2.0**self.exponent


@dataclass(frozen=True)
class ReferenceProduct:
    """A product and its operands, on the CPU.

    Parameters
    ----------
    operands : PerOperand of Rounded
        The integers and scales of both operands.
    integers : Tensor or ndarray of object
        ``[..., n, h]``.
    """

    operands: PerOperand[Rounded]
    integers: Tensor | Wide

    def quotient(self, index: tuple[int, ...]) -> Fraction:
        """Return one entry of the product divided by its scales, exactly."""
        value = Fraction(int(self.integers[index]))
        for side in ("a", "b"):
            scale = self.operands.of(side).whole_scale
            scale = scale.mT if side == "b" and scale.ndim else scale
            value /= Fraction(float(scale.expand(tuple(self.integers.shape))[index]))
        return value

    def inverse(self) -> Tensor:
        """Return ``1 / (scale_a * scale_b)`` in float64, broadcastable to the product."""
        a, b = self.operands.a.whole_scale, self.operands.b.whole_scale
        return 1 / (a * (b.mT if b.ndim else b))


def expected(
    a: Tensor,
    b: Tensor,
    rounding: PerOperand[Rounding],
    exponents: PerOperand[int] = NO_EXPONENTS,
) -> ReferenceProduct:
    """Round two operands ``[..., n, d]`` and ``[..., h, d]`` and multiply their integers.

    Parameters
    ----------
    a, b : Tensor
        The operands: finite, and with a scale.
    rounding : PerOperand of Rounding
        How each is rounded.
    exponents : PerOperand of int
        The powers of two that they are multiplied by first.
    """
    operands = PerOperand(rounded(a, rounding.a, exponents.a), rounded(b, rounding.b, exponents.b))
    x, y = operands.a.integers, operands.b.integers
    return ReferenceProduct(operands, _product(x, y))


def rounded(x: Tensor, rounding: Rounding, exponent: int = 0) -> Rounded:
    """Round an operand whose entries are finite and whose scale is defined."""
    values = x.detach().cpu().to(torch.float32)
    if exponent:
        values = (values.to(torch.float64) * 2.0**exponent).to(torch.float32)
    rows = values if rounding.granularity == "row" else values.reshape(1, -1)
    magnitudes = rows.abs().sort(dim=-1, descending=True).values
    alpha = _ranked(magnitudes, rounding.percentile)
    if rounding.zero_alpha == "nonzero":
        for index in (alpha == 0).nonzero().tolist():
            row = magnitudes[tuple(index)]
            alpha[tuple(index)] = _ranked(row[row > 0], rounding.percentile)
    scale = (rounding.beta / (2 * alpha.to(torch.float64))).to(torch.float32)
    zero = magnitudes.amax(-1) == 0 if rows.numel() else torch.ones_like(scale, dtype=torch.bool)
    scale = scale.masked_fill(zero, 1.0)
    scale = scale.unsqueeze(-1) if rounding.granularity == "row" else scale.reshape(())
    return Rounded((values * scale).round().to(torch.int64), scale, exponent)


def not_rounded_once(found: Tensor, expected: ReferenceProduct) -> Tensor:
    """Return where floats are not the exact quotients of integers and scales, rounded once.

    A float is right if the exact quotient lies between the middles to its two neighbours; on a
    middle, if its last bit is even.

    Parameters
    ----------
    found : Tensor
        ``[..., n, h]`` float32, float16 or bfloat16.
    expected : ReferenceProduct
        The integers and scales.

    Returns
    -------
    Tensor
        bool, on the CPU.
    """
    found = found.detach().cpu()
    low, high = _middles(found)
    even = _bits(found) % 2 == 0
    if isinstance(expected.integers, Tensor):
        integers = expected.integers.to(torch.float64)
    else:
        integers = torch.from_numpy(expected.integers.astype(np.float64))
    quotient = (integers * expected.inverse()).abs()
    wrong = (quotient < low * (1 - CLOSE)) | (quotient > high * (1 + CLOSE)) | found.isnan()
    wrong |= (found != 0) & (found.sign() != integers.sign())
    close = ((quotient - low).abs() <= CLOSE * low) | ((quotient - high).abs() <= CLOSE * high)
    for place in map(tuple, (close & ~wrong & (quotient > 0)).nonzero().tolist()):
        exact = abs(expected.quotient(place))
        below, above = (Fraction(float(middle[place])) for middle in (low, high))
        on_middle = exact in (below, above)
        wrong[place] = not (below < exact < above or (on_middle and bool(even[place])))
    return wrong


def _product(a: Tensor, b: Tensor) -> Tensor | Wide:
    largest = max((int(x.abs().max()) for x in (a, b) if x.numel()), default=0)
    if largest < ORACLE_LIMIT:
        return oracle(a, b)
    wide: Wide = np.matmul(a.numpy().astype(object), b.mT.numpy().astype(object))
    return wide


def _ranked(descending: Tensor, percentile: float) -> Tensor:
    """Return the k-th of magnitudes ``[..., count]`` in descending order; 0 where there is none."""
    count = descending.shape[-1]
    if count == 0:
        return descending.new_zeros(descending.shape[:-1])
    above = Fraction(count) * (100 - Fraction(str(percentile))) / 100
    return descending[..., max(1, int(above)) - 1].clone()


def _bits(floats: Tensor) -> Tensor:
    """Return the bit patterns of magnitudes, which are ordered as the magnitudes are."""
    integer = torch.int32 if floats.dtype == torch.float32 else torch.int16
    return floats.abs().contiguous().view(integer).to(torch.int64)


def _middles(floats: Tensor) -> tuple[Tensor, Tensor]:
    """Return in float64 the middles from each magnitude to the one below and to the one above.

    Below 0 there is none: the middle is 0. Above the largest the next would be one step further,
    had the type one more exponent; from its middle on, magnitudes round to infinity.
    """
    bits, top = _bits(floats), _bits(torch.tensor(torch.inf, dtype=floats.dtype, device="cpu"))
    value, below, above = (
        _value(bits.add(step).clamp(0, int(top)), floats.dtype) for step in (0, -1, 1)
    )
    largest = torch.finfo(floats.dtype).max
    beyond = largest + (largest - float(_value(top - 2, floats.dtype)))
    value, above = (x.masked_fill(torch.isinf(x), beyond) for x in (value, above))
    no_end = torch.finfo(torch.float64).max
    high = ((value + above) / 2).masked_fill(torch.isinf(floats), no_end)
    return (value + below) / 2, high


def _value(bits: Tensor, dtype: torch.dtype) -> Tensor:
    integer = torch.int32 if dtype == torch.float32 else torch.int16
    return bits.to(integer).view(dtype).to(torch.float64)
