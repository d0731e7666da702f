"""IM-Unpack: rewrite an integer GEMM as products of b-bit digits that give it exactly."""

from __future__ import annotations

from accelsim.arithmetic.digits import DIGIT_SYSTEMS, DigitSystem
from accelsim.unpack.loading import (
    list_strategies,
    load_strategy,
    register_strategy,
    split_options,
    strategy_class,
    with_options,
)
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.pack import pack, pack_wide
from accelsim.unpack.problem import LowBitProblem, Product, Segment
from accelsim.unpack.strategy import Strategy

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
    "register_strategy",
    "split_options",
    "strategy_class",
    "with_options",
]
