"""The differences between two configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LONGEST = 60
"""Characters of a value that are shown."""


def first_difference(there: Any, asked: Any, where: str = "") -> str:
    """Return at which key two configs differ first, and how; lists are compared as a whole.

    Parameters
    ----------
    there, asked : mapping
        The config of a folder, and the one that is to run in it.
    where : str
        The dotted key that both are at.
    """
    if isinstance(there, Mapping) and isinstance(asked, Mapping):
        for key in {**there, **asked}:
            if there.get(key) != asked.get(key):
                dotted = f"{where}.{key}" if where else key
                return first_difference(there.get(key), asked.get(key), dotted)
    texts = [json.dumps(value, ensure_ascii=False) for value in (there, asked)]
    short = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..." for text in texts]
    return f"{where}: {short[0]} there, {short[1]} here" if where else "its hash is another"
