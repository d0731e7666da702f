"""Libraries that come with an extra and are imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from accelsim.errors import InputError


def need(module: str, extra: str) -> ModuleType:
    """Import a library, or say with which extra it comes.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of this package that brings it.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise InputError(f"{name} is missing: pip install 'accelsim[{extra}]' ({error})") from error
