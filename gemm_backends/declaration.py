"""What a backend class declares, and how its constructor was called."""

from __future__ import annotations

import inspect
from typing import Any

from gemm_backends.types import Accumulator

REQUIRED = {
    "name": 'name = "my-backend"',
    "bits": "bits = 8",
    "accumulator": 'accumulator = Accumulator(bits=32, overflow="wrap")',
}
"""The attributes that a backend must declare, each with an example."""


def check_declaration(owner: str, name: object, bits: object, accumulator: object) -> None:
    """Check the values of these attributes.

    Raises
    ------
    TypeError
        If one is wrong; the message begins with the class's name, `owner`.
    """
    if not isinstance(name, str) or not name or name != name.strip():
        raise TypeError(f"{owner}.name must be a non-empty string, got {name!r}")
    widths = bits if isinstance(bits, tuple) and len(bits) == 2 else (bits,)
    if not all(type(width) is int and 2 <= width <= 16 for width in widths):
        raise TypeError(
            f"{owner}.bits must be an integer from 2 to 16, or a pair for A and B, got {bits!r}"
        )
    if not isinstance(accumulator, Accumulator):
        raise TypeError(f"{owner}.accumulator must be an Accumulator, got {accumulator!r}")


def resolved_options(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a constructor's call by name, defaults included."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    bound.apply_defaults()
    options = dict(list(bound.arguments.items())[1:])
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options |= options.pop(parameter.name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            options.pop(parameter.name)
    return options
