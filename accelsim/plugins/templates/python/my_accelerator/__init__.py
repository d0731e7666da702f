"""The accelerator my-accelerator, modelled in Python."""

from __future__ import annotations

import torch
from torch import Tensor

from gemm_backends import Accumulator, Availability, Cost, GemmBackend, GemmSpec, Tile

__all__ = ["MyAccelerator"]


class MyAccelerator(GemmBackend):
    """An output-stationary array of 8-bit multipliers with 32-bit accumulators.

    Parameters
    ----------
    rows, columns : int
        Size of the array. Options of the backend are the arguments of its constructor; a config
        writes ``{name: my-accelerator, rows: 32}``.
    """

    api_version = "1.1"
    name = "my-accelerator"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def __init__(self, rows: int = 16, columns: int = 16) -> None:
        if rows < 1 or columns < 1:
            raise ValueError(f"rows and columns must be positive, got {rows} and {columns}")
        self.tile = Tile(n=rows, h=columns)

    def availability(self) -> Availability:
        """Report that this is a model, which runs anywhere."""
        return Availability(available=True, execution="emulated")

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply digits ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32.

        float64 holds every sum of up to 2**39 products of 8-bit digits exactly, and the last step
        wraps at 32 bits, as the accumulator does.
        """
        product = a.to(torch.float64) @ b.to(torch.float64).T
        return product.to(torch.int64).to(torch.int32)

    def cost(self, spec: GemmSpec) -> Cost:
        """Count cycles: each tile of results takes d steps, and as many as fill and drain it."""
        tiles = -(-spec.n // self.tile.n) * -(-spec.h // self.tile.h)
        cycles = tiles * (spec.d + self.tile.n + self.tile.h - 2)
        return Cost(cycles=cycles, model="my-accelerator: one step of K a cycle")
