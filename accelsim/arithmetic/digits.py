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
    def low_digits(self) -> tuple[int, int]:
        """Smallest and largest low digit, the one that a split leaves behind."""
        half = 1 << (self.bits - 1)
        return (0, half - 1) if self.name == "paper" else (-half, half - 1)

    @property
    def digits(self) -> tuple[int, int]:
        """Smallest and largest digit: the values that are in bound."""
        half = 1 << (self.bits - 1)
        return (1 - half, half - 1) if self.name == "paper" else (-half, half - 1)

    @property
    def largest(self) -> int:
        """Largest magnitude of a digit."""
        return max(abs(digit) for digit in self.digits)

    @property
    def dtype(self) -> torch.dtype:
        """The tensor type that holds a digit."""
        return torch.int8 if self.bits <= 8 else torch.int16

    def carry(self, splits: int) -> int:
        """Return what is added before `splits` low digits are shifted away at once.

        ``(v + carry(k)) >> (k * shift)`` is what k splits leave of v: rounding instead of floor
        where low digits may be negative.
        """
        lowest = self.low_digits[0]
        return sum(-lowest << (self.shift * split) for split in range(splits))

    def reach(self, levels: int) -> tuple[int, int]:
        """Return the smallest and the largest value that `levels` digits can write."""
        low, high = self.digits
        for _ in range(levels - 1):
            low = (low << self.shift) + self.low_digits[0]
            high = (high << self.shift) + self.low_digits[1]
        return low, high

    def levels(self, largest: int) -> int:
        """Return how many digits suffice for every value up to a magnitude."""
        levels = 1
        while not self.reach(levels)[0] <= -largest <= largest <= self.reach(levels)[1]:
            levels += 1
        return levels

    def out_of_bound(self, values: Tensor) -> Tensor:
        """Return where `values` do not fit one digit."""
        low, high = self.digits
        return (values < low) | (values > high)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low digit and what is left above it: ``values = low + high * radix``.

        Parameters
        ----------
        values : Tensor
            int64, any shape.
        """
        high = (values + self.carry(1)) >> self.shift
        return values - (high << self.shift), high

    def count(self, values: Tensor) -> Tensor:
        """Return how many digits each value needs, at least 1, as int64."""
        counts = torch.ones_like(values, dtype=torch.int64)
        wide = values.to(torch.int64)
        if values.numel():
            low, high = (int(extreme) for extreme in wide.aminmax())
            for levels in range(1, self.levels(max(-low, high))):
                smallest, largest = self.reach(levels)
                counts += (wide < smallest) | (wide > largest)
        return counts
