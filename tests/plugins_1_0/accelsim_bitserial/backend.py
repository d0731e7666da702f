"""The backend class."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim_bitserial.planes import Planes, product, to_planes
from gemm_backends import Accumulator, Availability, Cost, GemmBackend, GemmSpec, Tile

WIDEST = 8


class BitSerial(GemmBackend):
    """An array of one-bit multipliers, in the manner of Stripes (Judd et al., MICRO 2016).

    Every processing element takes one bit-plane of A and one of B at a time, `lanes` digits of K a
    cycle: it ANDs them, counts the ones, shifts, and adds to a 32-bit accumulator. A product of
    p-bit by q-bit digits takes p * q passes.

    Parameters
    ----------
    bits : int or tuple of int
        Width of the digits, 2 to 8, or of A's and of B's. Narrower digits take fewer passes.
    rows, columns : int
        Size of the array.
    lanes : int
        Digits of K that a processing element takes in a cycle.
    """

    api_version = "1.0"
    name = "bit-serial"
    bits: int | tuple[int, int] = WIDEST
    accumulator = Accumulator(bits=32, overflow="wrap")

    def __init__(
        self,
        bits: int | tuple[int, int] = WIDEST,
        rows: int = 32,
        columns: int = 32,
        lanes: int = 64,
    ) -> None:
        widths = bits if isinstance(bits, tuple) else (bits, bits)
        if not all(2 <= width <= WIDEST for width in widths):
            raise ValueError(f"bits must be from 2 to {WIDEST}, got {bits}")
        if min(rows, columns, lanes) < 1:
            raise ValueError(
                f"rows, columns and lanes must be positive, got {rows}, {columns} and {lanes}"
            )
        self.bits = bits
        self.tile = Tile(n=rows, d=lanes, h=columns)

    def availability(self) -> Availability:
        """Say that this is a model, which runs anywhere."""
        return Availability(available=True, execution="emulated")

    def for_bits(self, bits_a: int, bits_b: int) -> GemmBackend:
        """Take as many passes as these digits need, and no more."""
        widest_a, widest_b = self.operand_bits
        if bits_a > widest_a or bits_b > widest_b:
            return self  # which refuses them
        return self.with_options(bits=bits_a if bits_a == bits_b else (bits_a, bits_b))

    def prepare(self, digits: Tensor) -> Planes:
        """Cut one operand into bit-planes, enough for either side."""
        return to_planes(digits, max(self.operand_bits))

    def matmul(self, a: Planes, b: Planes) -> Tensor:
        """Multiply ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32, which wraps at 32 bits."""
        bits_a, bits_b = self.operand_bits
        return torch.from_numpy(product(a.of_width(bits_a), b.of_width(bits_b))).to(torch.int32)

    def cost(self, spec: GemmSpec) -> Cost:
        """Count cycles: for every tile of results, bits_a * bits_b passes over K, and the skew.

        Operands enter the array skewed, one row and one column a cycle, which takes
        ``rows + columns - 2`` cycles to fill.
        """
        tiles = -(-spec.n // self.tile.n) * -(-spec.h // self.tile.h)
        passes = spec.bits_a * spec.bits_b * -(-spec.d // self.tile.d)
        cycles = tiles * (passes + self.tile.n + self.tile.h - 2)
        return Cost(cycles=cycles, model="bit-serial array, bits_a * bits_b passes over K")
