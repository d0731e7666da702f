"""Energy of multiply-accumulates, from published figures alone."""

from __future__ import annotations

import math
from typing import NamedTuple

from gemm_backends.cost.estimate import Basis

SOURCE = "M. Horowitz, Computing's Energy Problem, ISSCC 2014 (45 nm, 0.9 V)"
"""Where the figures are from."""

ADD_PJ = {8: 0.03, 32: 0.1}
MULTIPLY_PJ = {8: 0.2, 32: 3.1}
"""Picojoules of one integer operation of two operands of this many bits."""

ADD_64_PJ = 2 * ADD_PJ[32]
"""Picojoules of a 64-bit addition, taken as two of 32 bits."""


class MultiplyAccumulate(NamedTuple):
    """Picojoules of a multiplication and of the addition behind it."""

    multiply: float
    accumulate: float
    basis: Basis


def multiply_accumulate(a: int, b: int, width: int) -> MultiplyAccumulate | None:
    """Return the energy of a multiplication of `a` by `b` bits and an addition of `width`.

    Between the widths that are published, an addition is taken to grow linearly and a
    multiplication as a power of the product of its operands' widths (the published values give
    the exponent 0.99).

    Returns
    -------
    MultiplyAccumulate or None
        None beyond the published widths, 8 to 32 bits: nothing is extrapolated.
    """
    narrow, wide = sorted(ADD_PJ)
    if min(a, b, width) < narrow or max(a, b, width) > wide:
        return None
    share = (width - narrow) / (wide - narrow)
    addition = ADD_PJ[narrow] * (1 - share) + ADD_PJ[wide] * share
    exponent = math.log(MULTIPLY_PJ[wide] / MULTIPLY_PJ[narrow]) / math.log(wide**2 / narrow**2)
    multiplication = MULTIPLY_PJ[narrow] * (a * b / narrow**2) ** exponent
    published = width in ADD_PJ and a == b and a in MULTIPLY_PJ
    basis: Basis = "cited" if published else "interpolated"
    return MultiplyAccumulate(multiplication, addition, basis)
