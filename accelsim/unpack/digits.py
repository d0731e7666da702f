"""The two systems of b-bit signed digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.errors import InputError, unknown_name

DIGIT_SYSTEMS = ("paper", "balanced")


@dataclass(frozen=True)
class DigitSystem:
    """How integers are written in signed digits of `bits` bits.

    Parameters
    ----------
    name : {"paper", "balanced"}
        ``paper``: radix ``2**(bits-1)``, low digits by floor and modulo, in bound when
        ``|v| < 2**(bits-1)``. ``balanced``: radix ``2**bits``, digits in the full
        two's-complement range.
    bits : int
        Width of a digit, 2 to 16.

    Raises
    ------
    InputError
        If the name or the width is not one of these.
    """

    name: str
    bits: int

    def __post_init__(self) -> None:
        if self.name not in DIGIT_SYSTEMS:
            raise InputError(unknown_name("digit system", self.name, DIGIT_SYSTEMS))
        if not 2 <= self.bits <= 16:
            raise InputError(f"bits: found {self.bits}; allowed: an integer from 2 to 16")

    @property
    def shift(self) -> int:
        """Exponent of the radix."""
        return self.bits - 1 if self.name == "paper" else self.bits

    @property
    def largest(self) -> int:
        """Largest magnitude of a digit."""
        half = 1 << (self.bits - 1)
        return half - 1 if self.name == "paper" else half

    @property
    def dtype(self) -> torch.dtype:
        """The tensor type that holds a digit."""
        return torch.int8 if self.bits <= 8 else torch.int16

    def out_of_bound(self, values: Tensor) -> Tensor:
        """Return where `values` do not fit one digit."""
        half = 1 << (self.bits - 1)
        lowest = 1 - half if self.name == "paper" else -half
        wide = values.to(torch.int64)
        return (wide < lowest) | (wide >= half)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low digit and what is left above it: ``values = low + high * radix``.

        Parameters
        ----------
        values : Tensor
            int64, any shape.
        """
        if self.name == "paper":
            return values & ((1 << self.shift) - 1), values >> self.shift
        half = 1 << (self.bits - 1)
        low = ((values + half) & ((1 << self.bits) - 1)) - half
        return low, (values - low) >> self.shift

    def count(self, values: Tensor) -> Tensor:
        """Return how many digits each value needs, at least 1, as int64."""
        counts = torch.ones_like(values, dtype=torch.int64)
        rest = values.to(torch.int64)
        while bool((over := self.out_of_bound(rest)).any()):
            counts += over
            rest = self.split(rest)[1]
        return counts
