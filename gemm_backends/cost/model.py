"""The protocol of a model of an accelerator's cost."""

from __future__ import annotations

from typing import Protocol

from gemm_backends.corrections import Corrections
from gemm_backends.types import Cost, Tile, UnpackWork


class CostModel(Protocol):
    """Predicts the cost of low-bit products, and of the work around them, on an accelerator.

    The emulator takes any; `gemm_backends.cost.accelerator.Accelerator` is the one that its options
    describe. Both methods are closed forms: they may be asked thousands of times a second.
    """

    @property
    def tile(self) -> Tile:
        """What the accelerator multiplies in one step."""

    def product(self, n: int, d: int, h: int, corrections: Corrections | None = None) -> Cost:
        """Predict what ``[n, d] x [h, d] -> [n, h]`` of digits takes.

        With `corrections`, lanes beside the array add the products of single high digits to it.
        """

    def unpacking(self, work: UnpackWork) -> Cost:
        """Predict what splitting the operands and putting the products together takes."""
