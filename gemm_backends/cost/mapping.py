"""The mapping of a GEMM: tiles that the memories hold, and the loops over them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeAlias

DIMENSIONS = ("n", "d", "h")
"""Rows of A, what is summed over, and rows of B."""

ORDERS = tuple("".join(order) for order in permutations(DIMENSIONS))
"""All orders of the three loops, the outermost first."""

Search: TypeAlias = Literal["cycles", "energy"]
"""The objective of a search: all cycles, including stalls, or the energy."""


@dataclass(frozen=True)
class Mapped:
    """Tiles of a GEMM, and the order in which they are computed.

    Parameters
    ----------
    n, d, h : int
        Sizes of a tile: its operands lie in SRAM, ``[n, d]`` and ``[h, d]``, while it is computed.
    order : str
        The loops over tiles, the outermost first, such as ``"hnd"``.
    """

    n: int
    d: int
    h: int
    order: str

    def to_record(self) -> dict[str, object]:
        """Return it as ``memory.mapping`` takes it."""
        return {"tile": {"n": self.n, "d": self.d, "h": self.h}, "order": list(self.order)}
