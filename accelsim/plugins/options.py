"""The options of a plug-in: arguments of its constructor, checked against its signature."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, TypeVar, get_args, get_type_hints

from accelsim.errors import AccelsimError, InputError, unknown_name
from accelsim.plugins.guest import guest

T = TypeVar("T")


class OptionError(InputError):
    """One option of a plug-in is wrong.

    Parameters
    ----------
    message : str
        What is wrong.
    option : str or None
        Its name; None for an option that is missing.
    *inside : int or str
        The indices and keys that lead to the wrong part of its value.
    unknown : bool
        Whether there is no such option, or no such key in it: its name is wrong, not its value.
    """

    def __init__(
        self, message: str, option: str | None, *inside: int | str, unknown: bool = False
    ) -> None:
        super().__init__(message)
        self.option = option
        self.inside = inside
        self.unknown = unknown


def parse_options(
    plugin: type, owner: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[OptionError]]:
    """Check options against a constructor without calling it.

    A value may be what the parameter's annotation says or the JSON form of it, as YAML gives it: a
    list for a tuple, a string for a path or an enumeration's value, a mapping for a dataclass.

    Parameters
    ----------
    plugin : type
        The class.
    owner : str
        The plug-in in messages, such as ``"backend 'my-array'"``.
    options : mapping
        Its options by name.

    Returns
    -------
    arguments : dict
        The options as the annotations want them; those with an error are left out.
    errors : list of OptionError
        Every option that is unknown, missing or wrong.
    """
    parameters = _parameters(plugin)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    hints = _hints(plugin)
    arguments: dict[str, Any] = {}
    errors: list[OptionError] = []
    for option, value in options.items():
        if option not in named and not open_ended:
            message = f"{owner}: {unknown_name('option', option, named)}"
            errors.append(OptionError(message, option, unknown=True))
            continue
        try:
            known = option in named and option in hints
            arguments[option] = _converted(value, hints[option]) if known else value
        except _Mismatch as mismatch:
            message = f"option {option!r} of {owner} {mismatch}, got {value!r}"
            if isinstance(value, list) and _each_fits(value, hints[option]):
                where = " under backends" if owner.startswith("backend ") else ""
                message += f"; to compare several values, write one entry{where} for each: "
                message += " and ".join(f"{{…, {option}: {item}}}" for item in value[:2])
            errors.append(OptionError(message, option, *mismatch.inside))
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in options:
            errors.append(OptionError(f"{owner} needs the option {name!r}", None))
    return arguments, errors


def _each_fits(values: list[Any], hint: Any) -> bool:
    """Whether values are several, and each is what an option may be."""
    try:
        for value in values:
            _converted(value, hint)
    except _Mismatch:
        return False
    return len(values) > 1


def instantiate(plugin: type[T], owner: str, options: Mapping[str, Any]) -> T:
    """Check options and call the constructor with them.

    Raises
    ------
    OptionError
        For the first option that is unknown, missing or wrong, as the signature or the constructor
        says: with an `OptionError` of its own, or with a message that names one of `options`.
    InputError
        If the constructor raises anything else.
    """
    arguments, errors = parse_options(plugin, owner, options)
    if errors:
        raise errors[0]
    try:
        with guest():
            return plugin(**arguments)
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        if isinstance(error, AccelsimError):
            message = str(error)
        elif isinstance(error, TypeError | ValueError):
            message = f"{owner}: {error}"
        else:
            message = f"{owner} cannot be made: {type(error).__name__}: {error}"
        option = None if isinstance(error, OptionError) else _named(message, options)
        if option is not None:
            raise OptionError(message, option) from error
        if isinstance(error, AccelsimError):
            raise
        raise InputError(message) from error


def _named(message: str, options: Iterable[str]) -> str | None:
    """Return the option that a message quotes first, or else names first, if it does."""
    for pattern in ("'{}'", r"\b{}\b"):
        found = {key: re.search(pattern.format(re.escape(key)), message) for key in options}
        starts = {key: match.start() for key, match in found.items() if match}
        if starts:
            return min(starts, key=starts.__getitem__)
    return None


def located_options(plugin: type, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options whose relative paths start from a folder instead of the working directory.

    A parameter is a path, or a list of them, if its annotation names a class of `pathlib`. Where it
    names ``str``, too, a text is a path if there is such a file or folder.

    Parameters
    ----------
    plugin : type
        The class.
    options : mapping
        Its options by name, as text of a config.
    folder : Path
        The folder of the config.
    """
    hints = _hints(plugin)
    found = dict(options)
    for name, value in options.items():
        named = set(_classes(hints.get(name)))
        if any(issubclass(kind, PurePath) for kind in named):
            found[name] = _located(value, folder, always=str not in named)
    return found


def _classes(annotation: Any) -> Iterator[type]:
    """Return the classes that an annotation names, inside of others as well."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def _located(value: Any, folder: Path, always: bool) -> Any:
    if isinstance(value, list):
        return [_located(part, folder, always) for part in value]
    if not isinstance(value, str):
        return value
    path = folder / Path(value).expanduser()
    return str(path) if always or path.exists() else value


def resolved_options(
    plugin: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a constructor's call by name, defaults included.

    Paths, enumerations' members and dataclasses are returned in their JSON form, which
    `parse_options` takes.
    """
    if not _parameters(plugin):
        return {}
    bound = inspect.signature(plugin.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    bound.apply_defaults()
    options = dict(list(bound.arguments.items())[1:])
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options |= options.pop(parameter.name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            options.pop(parameter.name)
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _parameters(plugin: type) -> dict[str, inspect.Parameter]:
    if plugin.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    parameters = dict(inspect.signature(plugin.__init__).parameters)  # type: ignore[misc]
    del parameters[next(iter(parameters))]
    return parameters


def _hints(plugin: type) -> dict[str, Any]:
    try:
        return get_type_hints(plugin.__init__, include_extras=True)  # type: ignore[misc]
    except Exception:  # annotations that exist only for a type checker
        return {}


class _Mismatch(Exception):  # noqa: N818 - becomes an OptionError
    """A value is not what the annotation wants; the message says what it should be."""

    def __init__(self, message: str, inside: tuple[int, ...]) -> None:
        super().__init__(message)
        self.inside = inside


def _converted(value: Any, annotation: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    adapter: TypeAdapter[Any]
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # dataclasses and models have their own pydantic config
        adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as failure:
        error = failure
    try:
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as failure:
        error = failure
    except (TypeError, ValueError):  # no JSON value: the first error stands
        pass
    found = [e["msg"].removeprefix("Input ") for e in error.errors()]
    found = [message.replace("valid array", "list") for message in found]  # JSON's word
    wanted = " or ".join(dict.fromkeys(m for m in found if m.startswith("should be")))
    ways = [tuple(part for part in e["loc"] if isinstance(part, int)) for e in error.errors()]
    raise _Mismatch(wanted or found[0], max(ways, key=len)) from error
