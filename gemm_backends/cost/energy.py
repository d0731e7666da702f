"""Energy of an array's parts: published figures, and the relative switching of netlists."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gemm_backends.cost.estimate import Basis

SOURCE = "M. Horowitz, Computing's Energy Problem, ISSCC 2014 (45 nm, 0.9 V)"
"""The source of the figures."""

SWITCHED = (
    "below 8 bits, and for lanes and the unpacker: measured, switching of synthesized netlists on "
    "real digits in 180 nm, relative to the 8-bit multiplier"
)
"""The source of energies that are not published."""

ADD_PJ = {8: 0.03, 32: 0.1}
MULTIPLY_PJ = {8: 0.2, 32: 3.1}
"""Picojoules of one integer operation of two operands of this many bits."""

ADD_64_PJ = 2 * ADD_PJ[32]
"""Picojoules of a 64-bit addition, taken as two of 32 bits."""

SWITCHING = Path(__file__).parent / "switching.json"
"""The switching of synthesized parts, with a description of how it was obtained."""


class MultiplyAccumulate(NamedTuple):
    """Picojoules of a multiplication and of the addition behind it."""

    multiply: float
    accumulate: float
    basis: Basis


@dataclass(frozen=True)
class SwitchingTable:
    """Capacitances that parts charge and discharge in a clock.

    Parameters
    ----------
    about : mapping
        Where they come from.
    rows : sequence of mapping
        Module, parameters, ``data_pf`` and ``clock_pf``.
    """

    about: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    def total(self, module: str, **parameters: int) -> float | None:
        """Return what a part charges by data and by the clock, in pF; None if it is missing."""
        for row in self.rows:
            if row["module"] == module and row["parameters"] == parameters:
                return float(row["data_pf"] + row["clock_pf"])
        return None


@functools.cache
def load_switching() -> SwitchingTable:
    """Read the committed table."""
    content = json.loads(SWITCHING.read_text("utf-8"))
    return SwitchingTable(content["about"], content["rows"])


def multiply_accumulate(a: int, b: int, width: int) -> MultiplyAccumulate | None:
    """Return the energy of a multiplication of `a` by `b` bits and an addition of `width`.

    Between the widths that are published, an addition is taken to grow linearly and a
    multiplication as a power of the product of its operands' widths (the published values give
    the exponent 0.99). Below 8 bits a multiplication is that of 8 bits times what the two netlists
    switch; of unequal widths it is the geometric mean.

    Returns
    -------
    MultiplyAccumulate or None
        None for an addition of less than 8 or more than 32 bits, and for multipliers of more than
        32: nothing is extrapolated.
    """
    narrow, wide = sorted(ADD_PJ)
    if not narrow <= width <= wide or max(a, b) > wide:
        return None
    share = (width - narrow) / (wide - narrow)
    addition = ADD_PJ[narrow] * (1 - share) + ADD_PJ[wide] * share
    multiplication = math.sqrt(_multiply(a) * _multiply(b))
    published = width in ADD_PJ and a == b and a in MULTIPLY_PJ
    basis: Basis = "cited" if published else "interpolated"
    return MultiplyAccumulate(multiplication, addition, basis)


def _multiply(bits: int) -> float:
    narrow, wide = sorted(MULTIPLY_PJ)
    if bits < narrow:
        return MULTIPLY_PJ[narrow] * relative("multiplier", A=bits, B=bits)
    exponent = math.log(MULTIPLY_PJ[wide] / MULTIPLY_PJ[narrow]) / math.log(wide / narrow)
    return float(MULTIPLY_PJ[narrow] * (bits / narrow) ** exponent)


def relative(module: str, **parameters: int) -> float:
    """Return what a part switches over what the 8-bit multiplier does.

    Raises
    ------
    LookupError
        If the part was not simulated.
    """
    table = load_switching()
    part, whole = table.total(module, **parameters), table.total("multiplier", A=8, B=8)
    if part is None or whole is None:
        raise LookupError(f"no {module} with {parameters} was simulated")
    return part / whole


def corrected(bits: int, width: int) -> float:
    """Return what a register that lanes correct switches over what a plain one does.

    Both of the nearest width that was simulated, and of digits of up to 8 bits.
    """
    near, digits = _simulated(bits, width)
    lanes = relative("corrected_accumulator", P=2 * digits, W=near, UNIT=digits)
    return lanes / relative("accumulator", P=2 * digits, W=near, SATURATE=0)


def lane(bits: int, width: int) -> float:
    """Return the picojoules of a product in a lane, its shift included."""
    near, digits = _simulated(bits, width)
    shifted = relative("lane", B=digits, W=near, UNIT=digits)
    return _multiply(bits) * shifted / relative("multiplier", A=digits, B=digits)


def unpacker(bits: int) -> float:
    """Return the picojoules of rounding a float and splitting it into digits."""
    digits = min(bits, 8)
    parts = relative("round_scaled", I=32), relative("split_value", B=digits, I=32)
    return MULTIPLY_PJ[8] * sum(parts)


def _simulated(bits: int, width: int) -> tuple[int, int]:
    widths = {row["parameters"]["W"] for row in load_switching().rows if "W" in row["parameters"]}
    return min(widths, key=lambda known: (abs(known - width), known)), min(bits, 8)
