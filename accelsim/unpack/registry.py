"""All strategies but the paper's pairs: installed, registered, and classes in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.plugins.options import instantiate
from accelsim.plugins.registry import Registry
from accelsim.unpack.strategy import Strategy

registry: Registry[Strategy] = Registry("strategy", "accelsim.strategies", Strategy)


def make(
    plugin: type[Strategy], name: str, options: Mapping[str, Any], block: int | None
) -> Strategy:
    """Make an instance of a strategy's class.

    Parameters
    ----------
    plugin : type
        The class.
    name : str
        What messages call it.
    options : mapping
        Arguments of its constructor.
    block : int or None
        The columns of a K-block, for strategies that cut any; None for their default.

    Raises
    ------
    InputError
        If an option is unknown, missing or wrong.
    """
    if block is not None and plugin.uses_block:
        options = {"block": block, **options}
    return instantiate(plugin, f"strategy {name!r}", options)
