"""Strategies by name: the paper's pairs, installed and registered ones, and classes in files."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.options import located_options
from accelsim.plugins.registry import split_reference
from accelsim.types import FUSED, StrategyChoice
from accelsim.unpack.best import Best
from accelsim.unpack.block import Block
from accelsim.unpack.levels import METHODS
from accelsim.unpack.optimal import Optimal
from accelsim.unpack.registry import make, registry
from accelsim.unpack.strategy import Mix, Pair, Strategy

StrategyClass = TypeVar("StrategyClass", bound=type[Strategy])

_PAIRS = {
    **{method: partial(Pair, method, method) for method in METHODS},
    **{f"{a}/{b}": partial(Pair, a, b) for a, b in product(METHODS, METHODS)},
}
registry.register("mix", Mix)
registry.register("best", Best)
registry.register("block", Block)
registry.register("optimal", Optimal)


def list_strategies() -> list[str]:
    """Return the names of all strategies, without importing any plug-in."""
    return [*_PAIRS, *list_plugins()]


def list_plugins() -> list[str]:
    """Return the names of all strategies but the paper's pairs."""
    return registry.names()


def register_strategy(strategy: StrategyClass) -> StrategyClass:
    """Make a strategy class known by its `name` for the rest of this process.

    Returns the class, so that it can be used as a decorator.

    Parameters
    ----------
    strategy : StrategyClass
        The class.

    Returns
    -------
    StrategyClass
        The same class.

    Raises
    ------
    InputError
        If the name is taken.
    """
    if strategy.name in _PAIRS or strategy.name == FUSED:
        raise InputError(f"the strategy name {strategy.name!r} is already taken")
    registry.register(strategy.name, strategy)
    return strategy


def strategy_class(name: str, folder: Path = Path()) -> type[Strategy] | None:
    """Return the class of a strategy, or None for a pair of the paper's, which takes no options.

    Parameters
    ----------
    name : str
        A name, or ``path/to/file.py:ClassName``.
    folder : Path
        What a relative path starts from.

    Raises
    ------
    InputError
        If there is no such strategy, or it cannot be imported.
    """
    if name in _PAIRS:
        return None
    if name == FUSED:
        raise InputError(f"strategy {FUSED!r} is a backend's own way from floats to the product")
    reference = split_reference(name)
    if reference is not None:
        path, class_name = reference
        return registry.get(f"{folder / path.expanduser()}:{class_name}")
    if name not in registry.names():
        raise InputError(unknown_name("strategy", name, list_strategies()))
    return registry.get(name)


def load_strategy(
    choice: str | StrategyChoice, block: int | None = None, folder: Path = Path()
) -> Strategy:
    """Return the strategy that is chosen.

    Parameters
    ----------
    choice : str or StrategyChoice
        A name, or ``path/to/file.py:ClassName``; in text, options stand in parentheses:
        ``lanes(width=4)``.
    block : int or None
        The columns of a K-block, for strategies that cut any; None for their default.
    folder : Path
        What a relative path starts from.

    Raises
    ------
    InputError
        If there is none, it cannot be imported, or an option is unknown, missing or wrong.

    Examples
    --------
    >>> import torch
    >>> from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy, pack
    >>> system = DigitSystem("balanced", 4)
    >>> a = IntegerOperand(torch.tensor([[100, 7, -3], [1, 2, 3]]), system)
    >>> b = IntegerOperand(torch.tensor([[3, -2, 1], [5, 0, 7]]), system)
    >>> problem = load_strategy("mix").unpack(a, b)
    >>> problem.ratio
    1.3333333333333333
    >>> pack(problem, [product.a.long() @ product.b.long().mT for product in problem.products])
    tensor([[[283, 479],
             [  2,  26]]])
    """
    if isinstance(choice, str):
        choice = StrategyChoice(*split_options(choice))
    name, options = choice.name, choice.options
    plugin = strategy_class(name, folder)
    if plugin is not None:
        return make(plugin, name, located_options(plugin, options, folder), block)
    if options:
        raise InputError(f"strategy {name!r} takes no options")
    return _PAIRS[name]()


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``name(key=value, ...)`` into the name and its options, Python literals.

    Parameters
    ----------
    text : str
        Such as ``block(width=4)``.

    Returns
    -------
    tuple[str, dict[str, Any]]
        The name, and the options by their names.

    Raises
    ------
    InputError
        If the options cannot be read.
    """
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return text, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords if k.arg}
    except (SyntaxError, ValueError):
        pass
    raise InputError(f"expected NAME or NAME(KEY=VALUE, ...), got {text!r}")


def with_options(name: str, options: Mapping[str, Any]) -> str:
    """Write a strategy with options as `load_strategy` takes it.

    Parameters
    ----------
    name : str
        A strategy's name.
    options : Mapping[str, Any]
        By their names; none leaves the name unchanged.

    Returns
    -------
    str
        Such as ``lanes(width=4)``.
    """
    return str(StrategyChoice(name, options))
