"""The backend under test, with operands that suit it and the product it must give."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gemm_backends.base import GemmBackend
from gemm_backends.conformance.causes import PRODUCT
from gemm_backends.conformance.errors import CheckFailed
from gemm_backends.types import Accumulator, GemmSpec

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
SLICE = 1 << 18
"""Steps of K whose digits are converted to int64 together."""

LARGE_PRODUCT, SHORT = 1 << 24, 1 << 14
"""Digit products from which on float64, and K up to which it is faster than int64.

That many products of 16-bit digits are at most 2^44.
"""

Shape = tuple[int, int, int]
"""n, d and h of a GEMM."""


class Subject:
    """A backend under test.

    Parameters
    ----------
    backend : GemmBackend
        An instance, available on this machine.
    """

    def __init__(self, backend: GemmBackend) -> None:
        self.backend = backend

    @property
    def accumulator(self) -> Accumulator:
        """The register that the backend claims."""
        return self.backend.accumulator

    @cached_property
    def device(self) -> str:
        """The torch device on which the backend wants its digits."""
        return self.backend.status().device

    def lowest(self, side: Side) -> int:
        """Return the smallest digit of an operand: the most negative one, or 0."""
        return -(1 << (self._bits(side) - 1)) if self._signed(side) else 0

    def highest(self, side: Side) -> int:
        """Return the largest digit of an operand."""
        return (1 << (self._bits(side) - 1)) - 1

    def extremes(self, sign: int) -> tuple[int, int]:
        """Return the digits of A and B whose product is largest, or of sign -1 smallest."""
        return max(self.ends(), key=lambda pair: sign * pair[0] * pair[1])

    def ends(self) -> list[tuple[int, int]]:
        """Return the four pairs of a lowest or highest digit of A and one of B."""
        ends_a, ends_b = ((self.lowest(side), self.highest(side)) for side in SIDES)
        return list(itertools.product(ends_a, ends_b))

    def spec(self, n: int, d: int, h: int) -> GemmSpec:
        """Describe a product of this shape of the widest digits."""
        return GemmSpec(*self.backend.operand_bits, n, d, h, *self.backend.operand_signed)

    def supports(self, n: int, d: int, h: int) -> bool:
        """Return whether the backend takes this shape with its widest digits."""
        return bool(self.backend.supports(self.spec(n, d, h)))

    def aligned(self, shape: Shape) -> Shape:
        """Return a shape, or the next larger one of the backend's alignment."""
        return shape if self.supports(*shape) else self.backend.alignment.padded(*shape)

    def padded(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Append zeros to operands where the backend's alignment needs them."""
        n, d, h = self.aligned((*a.shape, b.shape[0]))
        more = d - a.shape[1]
        return pad(a, (0, more, 0, n - len(a))), pad(b, (0, more, 0, h - len(b)))

    def digits(self, side: Side, values: Tensor) -> Tensor:
        """Return integers in the type, and on the device, in which an operand's digits arrive."""
        dtype = torch.int8 if self._bits(side) <= 8 else torch.int16
        return values.to(dtype).to(self.device)

    def full(self, side: Side, rows: int, d: int, digit: int) -> Tensor:
        """Return ``[rows, d]`` of one digit."""
        dtype = torch.int8 if self._bits(side) <= 8 else torch.int16
        return self.digits(side, torch.full((rows, d), digit, dtype=dtype, device="cpu"))

    def random(
        self, n: int, d: int, h: int, batch: tuple[int, ...] = (), seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Return random digits ``[*batch, n, d]`` and ``[*batch, h, d]`` for A and B.

        They are drawn from the full range, unless the accumulator does not wrap and could overflow:
        then from as much of it as cannot.
        """
        generator = torch.Generator().manual_seed(hash((n, d, h, *batch, seed)) % (1 << 31))
        limit = self.harmless_digit(d)

        def draw(side: Side, rows: int) -> Tensor:
            low, high = max(self.lowest(side), -limit), min(self.highest(side), limit)
            shape = (*batch, rows, d)
            return self.digits(
                side, torch.randint(low, high + 1, shape, generator=generator, device="cpu")
            )

        return draw("a", n), draw("b", h)

    def harmless_digit(self, d: int) -> int:
        """Return a magnitude up to which digits of A and B give a defined product of length `d`."""
        if self.accumulator.overflow == "wrap" or d == 0:
            return 1 << 15
        return int((self.accumulator.maximum // d) ** 0.5)

    def expected(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the product that the backend must give, modulo its accumulator's range.

        It is computed by NumPy, which shares no code with any backend: in int64, or, for large
        products, in float64 where no partial sum can reach 2^53, so that all are exact.
        """
        x, y = (operand.cpu().numpy() for operand in (a, b))
        narrow = all(operand.dtype in (torch.int8, torch.int16) for operand in (a, b))
        large = x.size * y.shape[-2] > LARGE_PRODUCT and x.shape[-1] <= SHORT
        kind = np.float64 if narrow and large else np.int64
        product = np.zeros((*x.shape[:-1], y.shape[-2]), np.int64)
        for k in range(0, x.shape[-1], SLICE):
            part = (..., slice(k, k + SLICE))
            step = x[part].astype(kind) @ np.swapaxes(y[part].astype(kind), -1, -2)
            product += step.astype(np.int64, copy=False)
        if self.accumulator.bits < 64:
            low, mask = self.accumulator.minimum, (1 << self.accumulator.bits) - 1
            product = ((product - low) & mask) + low
        return torch.from_numpy(product)

    def verify(self, a: Tensor, b: Tensor, what: str) -> None:
        """Multiply, and compare with what must come out.

        Parameters
        ----------
        a, b : Tensor
            Digits.
        what : str
            The operands in words, for the message.

        Raises
        ------
        CheckFailed
            If any entry differs.
        """
        self.compare(self.backend.multiply(a, b), self.expected(a, b), what)

    def compare(self, product: Tensor, expected: Tensor, what: str) -> None:
        """Compare a product with the expected one.

        Raises
        ------
        CheckFailed
            If any entry differs; the message says how many do, and the first of them.
        """
        found = product.cpu().to(torch.int64)
        wrong = (found != expected).nonzero()
        if len(wrong):
            first = tuple(wrong[0].tolist())
            raise CheckFailed(
                f"{what}: {len(wrong)} of {found.numel()} entries differ, first at {first}: "
                f"got {found[first].item()}, expected {expected[first].item()}",
                PRODUCT,
            )

    def _bits(self, side: Side) -> int:
        return self.backend.operand_bits[SIDES.index(side)]

    def _signed(self, side: Side) -> bool:
        return self.backend.operand_signed[SIDES.index(side)]
