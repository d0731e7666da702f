"""Backends by name: find, register, instantiate."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar, get_type_hints

from accelsim.errors import InputError, unknown_name
from accelsim.registry import Registry, split_reference
from gemm_backends.base import GemmBackend

BackendClass = TypeVar("BackendClass", bound=type[GemmBackend])

registry: Registry[GemmBackend] = Registry("backend", "accelsim.backends", GemmBackend)
"""All backends: entry points of the group ``accelsim.backends``, and what `register` added."""


def list_backends() -> list[str]:
    """Return the names of all backends, sorted, without importing any of them."""
    return registry.names()


def register(backend: BackendClass) -> BackendClass:
    """Make a backend class known by its `name` for the rest of this process.

    Returns the class, so that it can be used as a decorator.

    Raises
    ------
    InputError
        If the name is taken.
    """
    registry.register(backend.name, backend)
    return backend


def backend_class(name: str) -> type[GemmBackend]:
    """Return the class of a backend.

    Parameters
    ----------
    name : str
        A backend's name, or ``path/to/file.py:ClassName``.

    Raises
    ------
    InputError
        If there is no such backend, it cannot be imported, or it is installed under another name
        than its own.
    """
    backend = registry.get(name)
    if split_reference(name) is None and backend.name != name:
        raise InputError(f"backend {name!r} calls itself {backend.name!r}: the two must agree")
    return backend


def load_backend(name: str, **options: Any) -> GemmBackend:
    """Instantiate a backend.

    Parameters
    ----------
    name : str
        A backend's name, or ``path/to/file.py:ClassName``.
    **options
        Arguments of its constructor, checked against the constructor's signature and annotations.

    Raises
    ------
    InputError
        If there is no such backend, or an option is unknown, missing or wrong.

    Examples
    --------
    >>> load_backend("emulator", bits=4, accumulator_bits=24, overflow="saturate").options["bits"]
    4
    """
    backend = backend_class(name)
    check_options(backend, options)
    try:
        return backend(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"backend {backend.name!r}: {error}") from error


def check_options(backend: type[GemmBackend], options: dict[str, Any]) -> None:
    """Check options against a backend's constructor without calling it.

    Raises
    ------
    InputError
        If an option is unknown or missing, or its value does not have the annotated type.
    """
    parameters = {} if backend.__init__ is object.__init__ else _parameters(backend)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    for option in options:
        if option not in named and not open_ended:
            raise InputError(
                unknown_name("option", option, named) + f" of backend {backend.name!r}"
            )
    missing = [n for n, p in named.items() if p.default is p.empty and n not in options]
    if missing:
        raise InputError(f"backend {backend.name!r} needs the option {missing[0]!r}")
    hints = _hints(backend)
    for option, value in options.items():
        if option in named and option in hints:
            _check_value(backend.name, option, value, hints[option])


def _parameters(backend: type[GemmBackend]) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(backend.__init__).parameters)
    del parameters[next(iter(parameters))]
    return parameters


def _hints(backend: type[GemmBackend]) -> dict[str, Any]:
    try:
        return get_type_hints(backend.__init__)
    except NameError:  # annotations that exist only for a type checker
        return {}


def _check_value(backend: str, option: str, value: Any, annotation: Any) -> None:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        found = [e["msg"].removeprefix("Input ") for e in error.errors()]
        wanted = " or ".join(dict.fromkeys(m for m in found if m.startswith("should be")))
        raise InputError(
            f"option {option!r} of backend {backend!r} {wanted or found[0]}, got {value!r}"
        ) from error
