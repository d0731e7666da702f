"""IM-Unpack: rewrite an integer GEMM as products of b-bit digits that give it exactly."""

from __future__ import annotations

from functools import partial
from itertools import product

from accelsim.errors import InputError, unknown_name
from accelsim.registry import Registry
from accelsim.unpack.block import Block
from accelsim.unpack.digits import DIGIT_SYSTEMS, DigitSystem
from accelsim.unpack.levels import METHODS
from accelsim.unpack.pack import pack, pack_wide
from accelsim.unpack.problem import LowBitProblem, Product, Segment
from accelsim.unpack.strategy import IntegerOperand, Mix, Pair, Strategy

__all__ = [
    "DIGIT_SYSTEMS",
    "DigitSystem",
    "IntegerOperand",
    "LowBitProblem",
    "Product",
    "Segment",
    "Strategy",
    "list_strategies",
    "load_strategy",
    "pack",
    "pack_wide",
]

_PAIRS = {
    **{method: partial(Pair, method, method) for method in METHODS},
    **{f"{a}/{b}": partial(Pair, a, b) for a, b in product(METHODS, METHODS)},
}
_registry: Registry[Strategy] = Registry("strategy", "accelsim.strategies", Strategy)
_registry.register("mix", Mix)
_registry.register("block", Block)


def list_strategies() -> list[str]:
    """Return the names of all strategies."""
    return [*_PAIRS, *_registry.names()]


def load_strategy(name: str, block: int | None = None) -> Strategy:
    """Return the strategy of this name.

    Parameters
    ----------
    name : str
        One of `list_strategies`.
    block : int or None
        The columns of a K-block, for strategies that cut any; None for their default.

    Raises
    ------
    InputError
        If there is none; the message has the nearest name.
    """
    if name in _PAIRS:
        return _PAIRS[name]()
    if name not in _registry.names():
        raise InputError(unknown_name("strategy", name, list_strategies()))
    strategy = _registry.get(name)
    if block is not None and strategy.uses_block:
        return strategy(block=block)  # type: ignore[call-arg]
    return strategy()
