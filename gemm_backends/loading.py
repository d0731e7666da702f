"""Backends by name: find, register, instantiate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from accelsim.errors import InputError
from accelsim.plugins.options import instantiate
from accelsim.plugins.registry import Registry, split_reference
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

    Parameters
    ----------
    backend : BackendClass
        The class.

    Returns
    -------
    BackendClass
        The same class.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> import torch
    >>> from gemm_backends import Accumulator, GemmBackend, load_backend, register
    >>> @register
    ... class MyArray(GemmBackend):
    ...     name = "my-array"
    ...     bits = 8
    ...     accumulator = Accumulator(bits=32, overflow="wrap")
    ...
    ...     def matmul(self, a, b):
    ...         return a.int() @ b.int().T
    >>> digits = torch.tensor([[1, 2]], dtype=torch.int8)
    >>> load_backend("my-array").multiply(digits, digits).item()
    5
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
        If there is no such backend, it cannot be imported, it is installed under another name than
        its own, or a class in a file calls itself as another backend does.
    """
    backend = registry.get(name)
    if split_reference(name) is not None:
        _check_not_taken(name, backend)
    elif backend.name != name:
        raise InputError(f"backend {name!r} calls itself {backend.name!r}: the two must agree")
    return backend


def _check_not_taken(reference: str, backend: type[GemmBackend]) -> None:
    """Refuse a class in a file that has the name of another backend; the same file is the same."""
    if backend.name in registry.names():
        taken = registry.get(backend.name)
        if taken is not backend and _source(taken) != _source(backend):
            raise InputError(
                f"the backend name {backend.name!r} of {reference} is already taken by "
                f"{registry.origin(backend.name)}; give the class another name, or name the "
                f"backend {backend.name!r} instead of the file"
            )


def _source(backend: type[GemmBackend]) -> Path | None:
    file = getattr(sys.modules.get(backend.__module__), "__file__", None)
    return None if file is None else Path(file).resolve()


def load_backend(name: str, **options: Any) -> GemmBackend:
    """Instantiate a backend.

    Parameters
    ----------
    name : str
        A backend's name, or ``path/to/file.py:ClassName``.
    **options
        Arguments of its constructor, checked against the constructor's signature and annotations.

    Returns
    -------
    GemmBackend
        The backend, whether or not it can run on this machine.

    Raises
    ------
    InputError
        If there is no such backend, an option is unknown, missing or wrong, or the constructor
        raises anything.

    Examples
    --------
    An 8-bit accumulator that wraps holds -128 to 127, and three products of 49 are too much:

    >>> import torch
    >>> from gemm_backends import load_backend
    >>> emulator = load_backend("emulator", bits=4, accumulator_bits=8, overflow="wrap")
    >>> row = torch.tensor([[7, 7, 7]], dtype=torch.int8)
    >>> product, overflow = emulator.multiply_report(row, row)
    >>> product.item(), overflow.count, overflow.first
    (-109, 1, (0, 0, 2))
    """
    backend = backend_class(name)
    return instantiate(backend, f"backend {backend.name!r}", options)
