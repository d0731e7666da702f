"""The digit systems: ways of writing integers in signed digits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class DigitRules(ABC):
    """One way to write integers in signed digits of b bits; low digits come by floor and modulo.

    Attributes
    ----------
    name : str
        The name by which configs know it.
    """

    name: ClassVar[str]

    @abstractmethod
    def shift(self, bits: int) -> int:
        """Return the exponent of the radix, at least 1."""

    @abstractmethod
    def low_digits(self, bits: int) -> tuple[int, int]:
        """Return the smallest and the largest low digit: ``2**shift`` integers with 0 in them."""

    @abstractmethod
    def digits(self, bits: int) -> tuple[int, int]:
        """Return the smallest and the largest value that fits one digit."""


class Paper(DigitRules):
    """Radix ``2**(b-1)``, digits of either sign below it: those of the IM-Unpack paper."""

    name = "paper"

    def shift(self, bits: int) -> int:
        """Return b - 1."""
        return bits - 1

    def low_digits(self, bits: int) -> tuple[int, int]:
        """Return 0 and ``2**(b-1) - 1``."""
        return 0, (1 << (bits - 1)) - 1

    def digits(self, bits: int) -> tuple[int, int]:
        """Return the magnitudes below ``2**(b-1)``."""
        half = 1 << (bits - 1)
        return 1 - half, half - 1


class Balanced(DigitRules):
    """Radix ``2**b``, digits in the full two's-complement range."""

    name = "balanced"

    def shift(self, bits: int) -> int:
        """Return b."""
        return bits

    def low_digits(self, bits: int) -> tuple[int, int]:
        """Return the two's-complement range."""
        half = 1 << (bits - 1)
        return -half, half - 1

    def digits(self, bits: int) -> tuple[int, int]:
        """Return the two's-complement range."""
        return self.low_digits(bits)


RULES: Mapping[str, DigitRules] = MappingProxyType(
    {rules.name: rules for rules in (Paper(), Balanced())}
)
"""The digit systems by name."""
