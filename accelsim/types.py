"""Small types that every package may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class PerOperand(Generic[T]):
    """One value for operand A and one for operand B of a GEMM ``C = A @ B.T``."""

    a: T
    b: T

    @classmethod
    def both(cls, value: T) -> PerOperand[T]:
        """Give A and B the same value."""
        return cls(value, value)

    def map(self, function: Callable[[T], U]) -> PerOperand[U]:
        """Apply `function` to the value of each operand."""
        return PerOperand(function(self.a), function(self.b))

    def to_record(self) -> T | dict[str, T]:
        """Return the common value if there is one, else ``{"a": ..., "b": ...}``."""
        return self.a if self.a == self.b else {"a": self.a, "b": self.b}
