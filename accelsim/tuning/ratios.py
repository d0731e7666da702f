"""The unpack ratio that one operand causes, counted from its digits without any product."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import Quantized
from accelsim.types import Side
from accelsim.unpack import DigitSystem, IntegerOperand, Strategy

ROWS = 2048
"""Rows of an operand that are looked at, evenly spaced; the rest is taken to be like them.

Fewer are not like them: K-blocks that suit a hundred rows of a weight do not suit all of them, and
r came out up to 15% too low.
"""

OTHER = 128
"""Rows of the operand beside it, which fits one digit: r does not depend on them."""


def sampled(x: Tensor) -> Tensor:
    """Return at most `ROWS` rows of an operand, evenly spaced.

    Parameters
    ----------
    x : Tensor
        ``[..., rows, d]``.
    """
    rows = x.shape[-2]
    if rows <= ROWS:
        return x
    return x[..., torch.arange(ROWS, device="cpu") * rows // ROWS, :]


def ratio_of(
    quantized: Quantized, side: Side, rows: int, system: DigitSystem, strategy: Strategy
) -> tuple[float, float]:
    """Return the unpack ratio beside an operand that fits one digit, and the share out of bound.

    Parameters
    ----------
    quantized : Quantized
        The integers, ``[..., rows, d]``.
    side : {"a", "b"}
        Which operand it is.
    rows : int
        Of the other one.
    system : DigitSystem
        The digits of both.
    strategy : Strategy
        How it is unpacked.
    """
    operand = IntegerOperand(quantized, system)
    if not bool(system.out_of_bound(quantized.values).any()):
        return 1.0, 0.0
    batch, _, d = operand.shape
    zeros = torch.zeros((), dtype=torch.int32, device="cpu").expand(batch, min(rows, OTHER), d)
    other = IntegerOperand(zeros, system)
    pair = (operand, other) if side == "a" else (other, operand)
    problem = strategy.unpack(*pair)
    outside = problem.out_of_bound_a if side == "a" else problem.out_of_bound_b
    return problem.low_bit_macs / problem.dense_macs, outside / quantized.operand.numel()
