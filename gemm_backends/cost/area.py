"""Areas of the parts of an array, from the committed table of synthesized modules."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gemm_backends.cost.estimate import Estimate, weakest

TABLE = Path(__file__).parent / "area.json"
"""The table; it holds the tool's version, the script, and what was synthesized."""

MULTIPLIER_45NM_UM2 = 729.8
"""Area of an exact signed 8-bit multiplier in 45 nm, in square micrometres."""

MULTIPLIER_45NM_SOURCE = "729.8 um2 in 45 nm (mul8s_1KV6 of EvoApproxLib)"
"""The name of that multiplier."""

Row: TypeAlias = tuple[str, tuple[tuple[str, int], ...]]
"""A module and the values of its parameters, by name."""


@dataclass(frozen=True)
class AreaTable:
    """Areas of synthesized modules.

    Parameters
    ----------
    about : mapping
        Where they come from: cells, sources, script, tool.
    rows : mapping
        The area of every module that was synthesized, in square micrometres of an old process: only
        ratios have a meaning.
    """

    about: Mapping[str, Any]
    rows: Mapping[Row, float]

    def exact(self, module: str, parameters: Mapping[str, int]) -> float | None:
        """Return the area of a module that was synthesized, or None."""
        return self.rows.get(_row(module, parameters))

    def area(self, module: str, **parameters: int) -> Estimate:
        """Return the area of a module, if need be between the nearest that were synthesized.

        Raises
        ------
        LookupError
            If a parameter is beyond all that were synthesized.
        """
        near = [self._near(module, name, value) for name, value in sorted(parameters.items())]
        names = sorted(parameters)
        total = 0.0
        for corner in itertools.product(*near):
            values = dict(zip(names, (value for value, _ in corner), strict=True))
            total += self.rows[_row(module, values)] * math.prod(share for _, share in corner)
        measured = all(len(values) == 1 for values in near)
        return Estimate(total, "measured" if measured else "interpolated")

    def _near(self, module: str, name: str, value: int) -> list[tuple[int, float]]:
        """Return the parameter's nearest values in the table, each with its share."""
        known = sorted({dict(of)[name] for found, of in self.rows if found == module})
        if value in known:
            return [(value, 1.0)]
        below = max((x for x in known if x < value), default=None)
        above = min((x for x in known if x > value), default=None)
        if below is None or above is None:
            raise LookupError(f"no {module} with {name} around {value} was synthesized")
        share = (value - below) / (above - below)
        return [(below, 1 - share), (above, share)]


@functools.cache
def load_table() -> AreaTable:
    """Read the committed table."""
    content = json.loads(TABLE.read_text("utf-8"))
    rows = {_row(row["module"], row["parameters"]): row["area"] for row in content["areas"]}
    return AreaTable(content["about"], rows)


def _row(module: str, parameters: Mapping[str, int]) -> Row:
    return module, tuple(sorted(parameters.items()))


def multiplier(a: int, b: int) -> Estimate:
    """Return the area of a signed multiplier of 2 to 16 by 2 to 16 bits, in either order."""
    return load_table().area("multiplier", A=max(a, b), B=min(a, b))


def accumulator(addend: int, width: int, saturate: bool) -> Estimate:
    """Return the area of an accumulator of 8 to 64 bits with an addend of 4 to 64 bits."""
    return load_table().area("accumulator", P=addend, W=width, SATURATE=int(saturate))


def adder(width: int) -> Estimate:
    """Return the area of an adder of two signed numbers of 4 to 40 bits."""
    return load_table().area("adder", P=width)


def shift_adder(width: int) -> Estimate:
    """Return the area of a unit that adds a shifted entry of 8 to 64 bits to a 64-bit sum."""
    return load_table().area("shift_add", W=width, S=64)


def corrected_accumulator(bits: int, width: int) -> Estimate:
    """Return the area of a register of 12 to 64 bits that lanes of `bits` correct."""
    return load_table().area("corrected_accumulator", P=2 * bits, W=width, UNIT=bits)


def lane(bits: int, width: int) -> Estimate:
    """Return the area of a lane: a multiplier of `bits` and a shifter of its product."""
    return load_table().area("lane", B=bits, W=width, UNIT=bits)


def lane_control(places: int, groups: int) -> Estimate:
    """Return the area of the control of a bank of lanes for up to 512 places in groups."""
    return load_table().area("lane_control", S=places, GROUPS=groups)


def gate_bit() -> Estimate:
    """Return the area of a delay of one bit of a correction."""
    return load_table().area("gate", W=1)


def unpacker(bits: int) -> Estimate:
    """Return the area of a unit that rounds a float and splits it into digits of `bits`."""
    table = load_table()
    parts = table.area("round_scaled", I=32), table.area("split_value", B=bits, I=32)
    return Estimate(sum(part.value for part in parts), weakest(*(part.basis for part in parts)))


def register_bit() -> Estimate:
    """Return the area of one bit that delays an operand by a clock."""
    return load_table().area("skew", W=1, DELAY=1)
