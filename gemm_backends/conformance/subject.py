"""The backend under test, with operands that suit it and the product it must give."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gemm_backends.base import GemmBackend
from gemm_backends.conformance.check import CheckFailed
from gemm_backends.types import Accumulator, GemmSpec

Side = Literal["a", "b"]


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
        return self.backend.availability().device

    @property
    def largest_product(self) -> int:
        """The largest product of two digits: of the most negative ones."""
        return self.lowest("a") * self.lowest("b")

    def lowest(self, side: Side) -> int:
        """Return the most negative digit of an operand."""
        return -(1 << (self._bits(side) - 1))

    def highest(self, side: Side) -> int:
        """Return the largest digit of an operand."""
        return -self.lowest(side) - 1

    def supports(self, n: int, d: int, h: int) -> bool:
        """Say whether the backend takes this shape with its widest digits."""
        return bool(self.backend.supports(GemmSpec(*self.backend.operand_bits, n, d, h)))

    def digits(self, side: Side, values: Tensor) -> Tensor:
        """Return integers in the type, and on the device, in which an operand's digits arrive."""
        dtype = torch.int8 if self._bits(side) <= 8 else torch.int16
        return values.to(dtype).to(self.device)

    def full(self, side: Side, rows: int, d: int, digit: int) -> Tensor:
        """Return ``[rows, d]`` of one digit."""
        return self.digits(side, torch.full((rows, d), digit))

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
            return self.digits(side, torch.randint(low, high + 1, shape, generator=generator))

        return draw("a", n), draw("b", h)

    def harmless_digit(self, d: int) -> int:
        """Return a magnitude up to which digits of A and B give a defined product of length `d`."""
        if self.accumulator.overflow == "wrap" or d == 0:
            return 1 << 15
        return int((self.accumulator.maximum // d) ** 0.5)

    def expected(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the product that the backend must give, modulo its accumulator's range.

        It is computed by NumPy's integer product, which shares no code with any backend.
        """
        x, y = (operand.cpu().numpy().astype(np.int64) for operand in (a, b))
        product = x @ np.swapaxes(y, -1, -2)
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
                f"got {found[first].item()}, expected {expected[first].item()}"
            )

    def _bits(self, side: Side) -> int:
        return self.backend.operand_bits["ab".index(side)]
