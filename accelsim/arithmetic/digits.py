"""Integers in b-bit signed digits of either system."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from accelsim.arithmetic.digit_systems import RULES
from accelsim.errors import InputError, unknown_name

DIGIT_SYSTEMS = tuple(RULES)

INTEGER_BITS = 62
"""Integers have magnitudes below 2^62: int64 holds them with every carry of a split added."""


@dataclass(frozen=True)
class DigitSystem:
    """A way of writing integers in signed digits of `bits` bits.

    Parameters
    ----------
    name : {"paper", "balanced"}
        One of the `accelsim.arithmetic.digit_systems`. ``paper``: radix ``2**(bits-1)``, low
        digits by floor and modulo, in bound when ``|v| < 2**(bits-1)``. ``balanced``: radix
        ``2**bits``, digits in the full two's-complement range.
    bits : int
        Width of a digit, 2 to 16.

    Raises
    ------
    InputError
        If the name or the width is not one of these.

    Examples
    --------
    With 4 bits, 100 is 6 * 16 + 4 and -9 is -1 * 16 + 7:

    >>> import torch
    >>> from accelsim.unpack import DigitSystem
    >>> low, high = DigitSystem("balanced", 4).split(torch.tensor([100, 7, -9]))
    >>> low.tolist(), high.tolist()
    ([4, 7, 7], [6, 0, -1])
    """

    name: str
    bits: int

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise InputError(unknown_name("digit system", self.name, tuple(RULES)))
        if not 2 <= self.bits <= 16:
            raise InputError(f"bits: found {self.bits}; allowed: an integer from 2 to 16")

    @property
    def shift(self) -> int:
        """Exponent of the radix."""
        return RULES[self.name].shift(self.bits)

    @property
    def low_digits(self) -> tuple[int, int]:
        """Smallest and largest low digit, the one that a split leaves behind."""
        return RULES[self.name].low_digits(self.bits)

    @property
    def digits(self) -> tuple[int, int]:
        """Smallest and largest digit: the values that are in bound."""
        return RULES[self.name].digits(self.bits)

    @property
    def keeps_last(self) -> bool:
        """Whether an entry's highest digit may lie outside the range of low digits.

        If so, the remainder is written unchanged; otherwise it is its own low digit.
        """
        return self.digits != self.low_digits

    @cached_property
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

        Parameters
        ----------
        splits : int
            How many low digits are shifted away.
        """
        lowest = self.low_digits[0]
        return sum(-lowest << (self.shift * split) for split in range(splits))

    def parts_of_split(self, splits: int) -> tuple[int, int]:
        """Cut a number of splits into two that int64 takes, one after the other.

        Each of ``(v + carry(k)) >> (k * shift)`` stays within int64 for magnitudes below 2^62. What
        is left after the first has at most one digit and a carry, so that more than two further
        splits change nothing.

        Parameters
        ----------
        splits : int
            How many low digits are split off, one after the other.

        Returns
        -------
        tuple[int, int]
            Two numbers of splits, which leave the same as `splits` at once.
        """
        first = min(splits, INTEGER_BITS // self.shift)
        return first, min(splits - first, 2)

    def reach(self, levels: int) -> tuple[int, int]:
        """Return the smallest and the largest value that `levels` digits can write.

        Parameters
        ----------
        levels : int
            A number of digits, at least 1.
        """
        low, high = self.digits
        for _ in range(levels - 1):
            low = (low << self.shift) + self.low_digits[0]
            high = (high << self.shift) + self.low_digits[1]
        return low, high

    def levels(self, largest: int) -> int:
        """Return how many digits suffice for every value up to a magnitude.

        Parameters
        ----------
        largest : int
            The magnitude, at least 0.
        """
        levels = 1
        while not self.reach(levels)[0] <= -largest <= largest <= self.reach(levels)[1]:
            levels += 1
        return levels

    def out_of_bound(self, values: Tensor) -> Tensor:
        """Return where `values` do not fit one digit.

        Parameters
        ----------
        values : Tensor
            Integers of any shape.
        """
        low, high = self.digits
        return (values < low) | (values > high)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low digit and what is left above it: ``values = low + high * radix``.

        Parameters
        ----------
        values : Tensor
            int64, any shape, magnitudes below 2^62.
        """
        high = (values + self.carry(1)) >> self.shift
        return values - (high << self.shift), high

    def count(self, values: Tensor) -> Tensor:
        """Return how many digits each value needs, at least 1, as int64.

        Parameters
        ----------
        values : Tensor
            int64, any shape.
        """
        counts = torch.ones_like(values, dtype=torch.int64)
        wide = values.to(torch.int64)
        if values.numel():
            low, high = (int(extreme) for extreme in wide.aminmax())
            for levels in range(1, self.levels(max(-low, high))):
                smallest, largest = self.reach(levels)
                counts += (wide < smallest) | (wide > largest)
        return counts
