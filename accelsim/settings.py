"""Settings that runs, models and command lines share: values by kind of operand, and unpacking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from accelsim.errors import InputError, unknown_name
from accelsim.types import PerOperand, Rounding, StrategyChoice

T = TypeVar("T")
U = TypeVar("U")

KINDS = ("weights", "activations", "attention", "gradients")
"""The kinds of operands in a model: a weight; an input of a linear layer; an operand of an
attention product; a gradient."""

OTHERS = "default"
"""The key for all kinds that a mapping does not name."""


@dataclass(frozen=True)
class PerKind(Generic[T]):
    """One value for each kind of operand of a model.

    Parameters
    ----------
    weights : T
        Of parameters.
    activations : T
        Of all other operands of linear layers in the forward pass.
    attention : T
        Of the operands of both products of attention.
    gradients : T
        Of gradients.
    """

    weights: T
    activations: T
    attention: T
    gradients: T

    @classmethod
    def all(cls, value: T) -> PerKind[T]:
        """Give every kind the same value.

        Parameters
        ----------
        value : T
            The value of every kind.
        """
        return cls(value, value, value, value)

    @classmethod
    def spread(cls, given: Mapping[str, T]) -> PerKind[T]:
        """Give each kind its value of a mapping, or that of ``default``.

        Parameters
        ----------
        given : Mapping[str, T]
            One value, or values by kind with a ``default`` for the rest.

        Raises
        ------
        InputError
            If a kind is unknown, or has neither a value nor a default.
        """
        for kind in given:
            if kind not in (*KINDS, OTHERS):
                raise InputError(unknown_name("kind", kind, (*KINDS, OTHERS)))
        missing = [kind for kind in KINDS if kind not in given and OTHERS not in given]
        if missing:
            raise InputError(f"nothing for {', '.join(missing)}, and no {OTHERS!r}")
        return cls(*(given[kind] if kind in given else given[OTHERS] for kind in KINDS))

    def map(self, function: Callable[[T], U]) -> PerKind[U]:
        """Apply `function` to the value of each kind.

        Parameters
        ----------
        function : callable
            What is called with each value.

        Returns
        -------
        PerKind[U]
            The results, by kind.
        """
        return PerKind(*(function(self.of(kind)) for kind in KINDS))

    def of(self, kind: str) -> T:
        """Return the value of one of `KINDS`.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        """
        value: T = getattr(self, kind)
        return value

    def to_record(self) -> T | dict[str, T]:
        """Return the common value if there is one, else a mapping that `spread` takes.

        A value that several kinds share comes first, as ``default``.
        """
        values = {kind: self.of(kind) for kind in KINDS}
        common, count = Counter(values.values()).most_common(1)[0]
        if count == len(KINDS):
            return common
        if count == 1:
            return values
        return {OTHERS: common, **{k: value for k, value in values.items() if value != common}}


@dataclass(frozen=True)
class Automatic:
    """A β that is found for each GEMM.

    Parameters
    ----------
    rounding : PerOperand of Rounding
        How operands are rounded, but for β.
    tolerance : float
        Of the product's error, relative to the product.
    """

    rounding: PerOperand[Rounding]
    tolerance: float

    def with_beta(self, beta: float) -> PerOperand[Rounding]:
        """Return the rounding of both operands by a β."""
        return self.rounding.map(lambda rounding: replace(rounding, beta=beta))


@dataclass(frozen=True)
class Unpacking:
    """Settings for unpacking integers into digits of b bits.

    Parameters
    ----------
    bits : PerOperand of int
        The width of digits.
    digits : str
        The name of a digit system.
    strategy : StrategyChoice
        What makes the products.
    block : int or None
        Columns of a K-block; None for a strategy that cuts none, or for its default.
    """

    bits: PerOperand[int]
    digits: str
    strategy: StrategyChoice
    block: int | None = None
