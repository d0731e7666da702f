"""Libraries that come with an extra and are imported where they are used."""

from __future__ import annotations

import importlib
import importlib.util
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
        raise InputError(f"{_missing(module, extra)} ({error})") from error


def lacks(module: str, extra: str) -> str:
    """Return which extra brings a library that is not installed, or an empty text if it is.

    Parameters
    ----------
    module : str
        The library, which is not imported.
    extra : str
        The extra of this package that brings it.
    """
    return "" if importlib.util.find_spec(module) else _missing(module, extra)


def _missing(module: str, extra: str) -> str:
    return f"{module.partition('.')[0]} is missing: pip install 'accelsim[{extra}]'"
