"""Find a plug-in class by its name: an entry point, a class registered in code, or a file.

A registry is lazy. It knows the names of all installed plug-ins from their packages' metadata and
imports a plug-in's module only when that plug-in is asked for, so that one that fails to import
never stops the others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.guest import guest

T = TypeVar("T")


def split_reference(name: str) -> tuple[Path, str] | None:
    """Split ``path/to/file.py:ClassName`` into its path and class name.

    Parameters
    ----------
    name : str
        The name of a plug-in, or a reference to a class in a file.

    Returns
    -------
    tuple of Path and str, or None
        The path as given and the class name (empty if it is missing), or None where `name` is a
        plain name.
    """
    if name.endswith(".py"):
        return Path(name), ""
    path, colon, class_name = name.rpartition(":")
    return (Path(path), class_name) if colon and path.endswith(".py") else None


class Registry(Generic[T]):
    """The classes of one kind of plug-in, by name.

    Parameters
    ----------
    kind : str
        What a plug-in is called in messages, such as ``"backend"``.
    group : str
        The entry-point group in which installed packages announce their plug-ins.
    base : type
        The class that every plug-in inherits from.
    """

    def __init__(self, kind: str, group: str, base: type[Any]) -> None:
        self.kind = kind
        self.group = group
        self.base = base
        self._registered: dict[str, type[T]] = {}
        self._files: dict[tuple[Path, str], type[T]] = {}
        self._installed: dict[str, list[EntryPoint]] | None = None

    def names(self) -> list[str]:
        """Return the sorted names of all plug-ins, broken ones included, without importing any."""
        return sorted({*self._entry_points(), *self._registered})

    def register(self, name: str, plugin: type[T]) -> None:
        """Add a class under `name` for the rest of this process.

        Raises
        ------
        InputError
            If the name is taken by another class, or `plugin` is not a subclass of the base.
        """
        self._check(plugin, f"{self.kind} {name!r}")
        taken = self._registered.get(name)
        if taken is plugin:
            return
        if taken is not None or name in self._entry_points():
            raise InputError(f"the {self.kind} name {name!r} is already taken")
        self._registered[name] = plugin

    def get(self, name: str) -> type[T]:
        """Return the class called `name`, importing its module if need be.

        Parameters
        ----------
        name : str
            A plug-in's name, or ``path/to/file.py:ClassName``.

        Raises
        ------
        InputError
            If there is no such plug-in or file, two packages claim the name, or the plug-in does
            not import.
        """
        reference = split_reference(name)
        if reference is not None:
            return self._from_file(*reference)
        if name in self._registered:
            return self._registered[name]
        candidates = self._entry_points().get(name)
        if candidates is None:
            raise InputError(unknown_name(self.kind, name, self.names()))
        if len(candidates) > 1:
            claims = " and ".join(_origin(entry) for entry in candidates)
            raise InputError(f"{self.kind} {name!r} is defined twice: by {claims}")
        return self._from_entry_point(candidates[0])

    def origin(self, name: str) -> str:
        """Return what provides the plug-in of a known name, as messages put it."""
        if name in self._registered:
            plugin = self._registered[name]
            return f"the class {plugin.__qualname__} registered by {plugin.__module__}"
        return " and ".join(f"the {_origin(entry)}" for entry in self._entry_points()[name])

    def broken(self) -> dict[str, str]:
        """Import every plug-in and return the error message of each one that fails."""
        errors = {}
        for name in self.names():
            try:
                self.get(name)
            except InputError as error:
                errors[name] = str(error)
        return errors

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        if self._installed is None:
            installed: dict[str, dict[str, EntryPoint]] = {}
            for entry in entry_points(group=self.group):
                installed.setdefault(entry.name, {})[entry.value] = entry
            self._installed = {name: list(found.values()) for name, found in installed.items()}
        return self._installed

    def _from_entry_point(self, entry: EntryPoint) -> type[T]:
        where = f"{self.kind} {entry.name!r} ({_origin(entry)})"
        try:
            with guest():
                plugin = entry.load()
        except (Exception, SystemExit) as error:
            raise InputError(f"{where} cannot be loaded: {_describe(error)}") from error
        return self._check(plugin, where)

    def _from_file(self, path: Path, class_name: str) -> type[T]:
        path = path.expanduser().resolve()
        if not class_name:
            raise InputError(f"{path} names no class; write {path.name}:ClassName")
        if (path, class_name) not in self._files:
            module = _import_file(path, self.kind)
            plugin = getattr(module, class_name, None)
            if plugin is None:
                known = [name for name, value in vars(module).items() if self._is_plugin(value)]
                raise InputError(f"{path}: {unknown_name('class', class_name, known)}")
            self._files[path, class_name] = self._check(plugin, f"{path}:{class_name}")
        return self._files[path, class_name]

    def _is_plugin(self, value: object) -> bool:
        return isinstance(value, type) and issubclass(value, self.base) and value is not self.base

    def _check(self, plugin: object, where: str) -> type[T]:
        if isinstance(plugin, type) and issubclass(plugin, self.base):
            return plugin
        raise InputError(f"{where} is not a subclass of {self.base.__name__}")


def _origin(entry: EntryPoint) -> str:
    package = f" of package {entry.dist.name}" if entry.dist is not None else ""
    return f"entry point {entry.value!r}{package}"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _import_file(path: Path, kind: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{kind} file {path} does not exist")
    module_name = f"accelsim_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with guest():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        line = _line_in(error, path)
        raise InputError(f"{path} cannot be loaded: {_describe(error)}{line}") from error
    return module


def _line_in(error: BaseException, path: Path) -> str:
    """Return the line of a file in which an error arose, as text; empty if it arose elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f" ({path.name}:{lines[-1]})" if lines else ""
