"""Baselines by name."""

from __future__ import annotations

from accelsim.plugins.registry import Registry
from gemm_backends.baselines.base import Baseline

registry: Registry[Baseline] = Registry("baseline", "accelsim.baselines", Baseline)
"""All baselines: entry points of the group ``accelsim.baselines``."""


def list_baselines() -> list[str]:
    """Return the names of all baselines, sorted, without importing any of them."""
    return registry.names()


def load_baseline(name: str) -> Baseline:
    """Return the baseline called `name`.

    Parameters
    ----------
    name : str
        The name of an entry point.

    Raises
    ------
    InputError
        If there is none, or it cannot be imported.

    Examples
    --------
    >>> from gemm_backends.baselines import load_baseline
    >>> load_baseline("bf16").name
    'bf16'
    """
    return registry.get(name)()
