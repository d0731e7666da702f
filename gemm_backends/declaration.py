"""The declarations of a backend class, checked when it is defined and after its constructor."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable

from gemm_backends.types import Accumulator, Tile

API_VERSION = "1.1"
"""The version of the plug-in API, ``MAJOR.MINOR``; docs/plugin-api.md says when it changes."""

REQUIRED = {
    "name": 'name = "my-backend"',
    "bits": "bits = 8",
    "accumulator": 'accumulator = Accumulator(bits=32, overflow="wrap")',
}
"""The attributes that a backend must declare, each with an example."""

METHODS = {
    "matmul": ("a", "b"),
    "prepare": ("digits",),
    "matmul_report": ("a", "b"),
    "sparse_matmul": ("a", "b"),
    "corrected_matmul": ("a", "b", "corrections"),
    "availability": (),
    "supports": ("spec",),
    "for_bits": ("bits_a", "bits_b"),
    "executed_macs": ("spec",),
    "cost": ("spec",),
    "corrected_cost": ("spec", "corrections"),
    "shift_add_cost": ("count",),
    "unpack_cost": ("work",),
    "actions": (),
    "fused": ("request",),
}
"""The methods that an author may define, with the arguments of the call, by position."""

SINCE = {
    "fused": (1, 1),
    "unpack_cost": (1, 1),
    "corrected_matmul": (1, 1),
    "corrected_cost": (1, 1),
}
"""The version that brought a method; the others were there from the first.

To a class written for an earlier one the name says nothing, and is its author's own.
"""


def check_class(cls: type, own: Iterable[str]) -> None:
    """Check that a class declares what it must, and defines what it may, rightly.

    Parameters
    ----------
    cls : type
        The backend class.
    own : iterable of str
        The names that the class defines itself, among which a misspelt one is looked for.

    Raises
    ------
    TypeError
        If something is missing or wrong; the message begins with the class's name and says what
        would be right.
    """
    for attribute, example in REQUIRED.items():
        if not hasattr(cls, attribute):
            raise TypeError(_missing(cls, attribute, example, own))
    _check_version(cls.__name__, cls.api_version)  # type: ignore[attr-defined]
    check_values(cls.__name__, cls)
    if getattr(cls.matmul, "__isabstractmethod__", False):  # type: ignore[attr-defined]
        raise TypeError(_missing(cls, "matmul", "def matmul(self, a, b)", own))
    for method, arguments in METHODS.items():
        if written_for(cls, method):
            _check_method(cls, method, arguments)


def written_for(cls: type, method: str) -> bool:
    """Return whether the version that a class is written for has a method of `METHODS`."""
    return SINCE.get(method, (1, 0)) <= _numbers(cls.api_version)  # type: ignore[attr-defined]


def _missing(cls: type, attribute: str, example: str, own: Iterable[str]) -> str:
    names = [name for name in own if not name.startswith("__")]
    close = difflib.get_close_matches(attribute, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    abstract = f"; for a base class write class {cls.__name__}(..., abstract=True)"
    return f"{cls.__name__} has no {attribute}; add {example}{hint}{abstract}"


def _check_version(owner: str, version: object) -> None:
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+", version):
        raise TypeError(f'{owner}.api_version must be a string such as "1.0", got {version!r}')
    wanted, here = _numbers(version), _numbers(API_VERSION)
    if wanted[0] != here[0] or wanted > here:
        raise TypeError(
            f"{owner} is written for version {version} of the plug-in API, and this is "
            f"{API_VERSION}; install a version of accelsim that has it, or see docs/plugin-api.md "
            "for what has changed"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def check_values(owner: str, declared: object) -> None:
    """Check the attributes of a backend class, or of an instance whose constructor set them.

    Raises
    ------
    TypeError
        If one is wrong; the message begins with the class's name, `owner`.
    """
    name, bits = declared.name, declared.bits  # type: ignore[attr-defined]
    if not isinstance(name, str) or not re.fullmatch(r"\w([\w .+-]*\w)?", name):
        raise TypeError(
            f"{owner}.name must be a non-empty string of letters, digits and . _ + -, got {name!r}"
        )
    if not all(type(width) is int and 2 <= width <= 16 for width in _pair(bits)):
        raise TypeError(
            f"{owner}.bits must be an integer from 2 to 16, or a pair for A and B, got {bits!r}"
        )
    accumulator = declared.accumulator  # type: ignore[attr-defined]
    if not isinstance(accumulator, Accumulator):
        raise TypeError(f"{owner}.accumulator must be an Accumulator, got {accumulator!r}")
    signed = declared.signed  # type: ignore[attr-defined]
    if not all(type(value) is bool for value in _pair(signed)):
        raise TypeError(f"{owner}.signed must be a bool, or a pair for A and B, got {signed!r}")
    for attribute in ("tile", "alignment"):
        sizes = getattr(declared, attribute)
        if not isinstance(sizes, Tile) or not all(type(x) is int and x >= 1 for x in sizes):
            raise TypeError(
                f"{owner}.{attribute} must be a Tile of positive integers, such as "
                f"Tile(n=16, d=64, h=16), got {sizes!r}"
            )
    batched = declared.batched  # type: ignore[attr-defined]
    if not isinstance(batched, bool):
        raise TypeError(f"{owner}.batched must be True or False, got {batched!r}")


def _pair(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) and len(value) == 2 else (value,)


def _check_method(cls: type, name: str, arguments: tuple[str, ...]) -> None:
    method = inspect.getattr_static(cls, name)
    bound = isinstance(method, (classmethod, staticmethod))
    function = method.__func__ if bound else method
    wanted = ", ".join(("cls" if name == "actions" else "self", *arguments))
    if not callable(function):
        raise TypeError(
            f"{cls.__name__}.{name} must be a method, {name}({wanted}), got {function!r}"
        )
    implicit = () if isinstance(method, staticmethod) else (None,)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions written in C need not have one
        return
    try:
        signature.bind(*implicit, *arguments)
    except TypeError:
        raise TypeError(
            f"{cls.__name__}.{name} must take ({wanted}), got {name}{signature}"
        ) from None
