"""The entries of ``workloads`` and ``backends``, and names that plug-ins define."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.config.document import Document
from accelsim.config.messages import validated
from accelsim.config.problems import Loc, shown
from accelsim.config.run_config import BackendChoice
from accelsim.config.settings import strategy_choice
from accelsim.errors import InputError, unknown_name
from accelsim.plugins.options import OptionError, located_options, parse_options
from accelsim.plugins.registry import split_reference
from accelsim.records.keyed import canonical_json
from accelsim.types import FUSED, PerOperand, StrategyChoice
from accelsim.unpack import load_strategy, split_options, strategy_class
from gemm_backends import GemmBackend, backend_class
from workloads.paths import from_folder
from workloads.sources import SOURCE, EntryError, WorkloadSource, open_source
from workloads.sources import registry as sources


def check_workloads(document: Document, entries: Sequence[Any]) -> tuple[WorkloadSource, ...]:
    """Check the entries of ``workloads``, open each, and see that all GEMMs have different names.

    Problems go to `document`; entries that have one are left out of the result.
    """
    checked = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        source = _workload(document, entry, ("workloads", index))
        if source is not None:
            checked.append(source)
            _open(document, source, ("workloads", index), seen)
    return tuple(checked)


def _workload(document: Document, entry: Any, loc: Loc) -> WorkloadSource | None:
    known = sources.names()
    if isinstance(entry, dict) and SOURCE in entry:
        return _workload_of_file(document, entry, loc)
    keys = [key for key in entry if key in known] if isinstance(entry, dict) else []
    if not isinstance(entry, dict):
        document.report(loc, f"found {shown(entry)}; expected a mapping with {_one_of(known)}")
    elif len(keys) > 1:
        document.report(loc, f"found {' and '.join(keys)}; expected only one of them")
    elif not keys and entry:
        key = next(iter(entry))
        document.report((*loc, key), unknown_name("workload source", key, known), at_key=True)
    elif not keys:
        document.report(loc, f"found an empty mapping; expected {_one_of(known)}")
    else:
        try:
            model = sources.get(keys[0])
        except InputError as error:
            document.report((*loc, keys[0]), str(error), at_key=True)
            return None
        return validated(document, model, entry, loc)
    return None


def _workload_of_file(document: Document, entry: dict[str, Any], loc: Loc) -> WorkloadSource | None:
    """Check an entry whose key ``source`` says in which file its class is."""
    name = entry[SOURCE]
    rest = {key: value for key, value in entry.items() if key != SOURCE}
    if not isinstance(name, str) or split_reference(name) is None:
        message = f"found {shown(name)}; expected path/to/file.py:ClassName"
        document.report((*loc, SOURCE), message)
        return None
    try:
        model = sources.get(target(name, document.path.parent))
    except InputError as error:
        document.report((*loc, SOURCE), str(error))
        return None
    source = validated(document, model, rest, loc)
    if source is not None:
        source.come_from(name)
    return source


def _one_of(names: Sequence[str]) -> str:
    return f"one of the keys {', '.join(names)}"


def _open(document: Document, source: WorkloadSource, loc: Loc, seen: set[str]) -> None:
    try:
        gemms = open_source(source, document.path.parent)
    except EntryError as error:
        document.report((*loc, *error.loc), str(error))
        return
    except InputError as error:
        document.report((*loc, source.key), str(error))
        return
    except Exception as error:  # a plug-in may raise anything
        message = f"cannot be opened: {type(error).__name__}: {error}"
        document.report((*loc, source.key), message)
        return
    for gemm in gemms:
        if gemm.id in seen:
            document.report(loc, f"GEMM {gemm.id!r} appears twice; names must be unique")
        seen.add(gemm.id)


def check_backends(
    document: Document, entries: Sequence[Any], widths: Sequence[PerOperand[int]] = ()
) -> tuple[BackendChoice, ...]:
    """Check the entries of ``backends`` by making an instance of each, for each width of digits.

    Problems go to `document`; entries that have one are left out of the result.
    """
    choices: list[BackendChoice] = []
    names = _Names()
    seen: set[tuple[type[GemmBackend], str]] = set()
    for index, entry in enumerate(entries):
        choice = check_backend(document, entry, ("backends", index))
        if choice is None:
            continue
        backend = choice.load()
        key = type(backend), canonical_json(backend.options)
        if key in seen:
            message = f"found {shown(choice.to_record())} twice; expected different backends"
            document.report(("backends", index), message)
        elif shared := names.taken(choice):
            document.report(("backends", index, "name"), shared)
        seen.add(key)
        if all(_fits(document, backend, bits, ("backends", index)) for bits in widths):
            choices.append(choice)
    return tuple(choices)


def _fits(document: Document, backend: GemmBackend, bits: PerOperand[int], loc: Loc) -> bool:
    """See that a backend can be made for digits of some width."""
    return _can_be_made(document, lambda: backend.for_bits(bits.a, bits.b), loc)


class _Names:
    """The names of the chosen backends' classes, and the choice that brought each."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[type[GemmBackend], BackendChoice]] = {}

    def taken(self, choice: BackendChoice) -> str | None:
        """Record a choice; return a message if another class has the name of its class."""
        own = type(choice.load())
        owner, other = self._owners.setdefault(own.name, (own, choice))
        if owner is own:
            return None
        return f"{other.name} and {choice.name} are both called {own.name!r}; rename one"


def check_backend(document: Document, entry: Any, loc: Loc) -> BackendChoice | None:
    """Check an entry that names a backend, with options or without, by making an instance of it.

    Problems go to `document`, which then have no result.

    Parameters
    ----------
    document : Document
        Relative paths start from its folder.
    entry : str or mapping
        As the config has it.
    loc : tuple
        Where it stands.
    """
    named = isinstance(entry, dict) and "name" in entry
    name = entry["name"] if named else entry
    if not isinstance(name, str):
        message = f"found {shown(name)}; expected the name of a backend, or {{name: ..., options}}"
        document.report((*loc, "name"), message)
        return None
    options = {key: value for key, value in entry.items() if key != "name"} if named else {}
    folder = document.path.parent
    try:
        plugin = backend_class(target(name, folder))
    except InputError as error:
        document.report((*loc, "name"), str(error))
        return None
    options = located_options(plugin, options, folder)
    choice = BackendChoice(name, options, target(name, folder))
    if not _options_fit(document, plugin, f"backend {plugin.name!r}", options, loc):
        return None
    return choice if _can_be_made(document, lambda: _loaded(choice), loc) else None


def _loaded(choice: BackendChoice) -> GemmBackend:
    """Make a backend and see that records can hold its options, defaults included."""
    backend = choice.load()
    _check_json(backend.options, f"backend {backend.name!r}")
    return backend


def _check_json(options: Mapping[str, Any], owner: str) -> None:
    """Raise if records cannot hold an option."""
    for option, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise OptionError(
                f"option {option!r} of {owner} is {value!r}, which JSON cannot "
                "hold; expected text, finite numbers, true, false, null, lists or mappings",
                option,
            ) from None


def _options_fit(
    document: Document, plugin: type, owner: str, options: Mapping[str, Any], loc: Loc
) -> bool:
    """Check options against a constructor's signature and report each that is wrong."""
    _, errors = parse_options(plugin, owner, options)
    for error in errors:
        where: Loc = ("name",) if error.option is None else (error.option, *error.inside)
        document.report((*loc, *where), str(error), at_key=error.unknown)
    return not errors


def _can_be_made(document: Document, make: Callable[[], object], loc: Loc) -> bool:
    """Call a constructor, and report what it raises at the option that is wrong."""
    try:
        make()
    except OptionError as error:
        where = (*loc, error.option or "name", *error.inside)
        document.report(where, str(error), at_key=error.unknown)
        return False
    except InputError as error:
        document.report((*loc, "name"), str(error))
        return False
    return True


def target(name: str, folder: Path) -> str:
    """Make the path in ``path/to/file.py:ClassName``, if `name` is one, relative to `folder`."""
    reference = split_reference(name)
    if reference is None:
        return name
    path, class_name = reference
    return f"{from_folder(folder, path)}:{class_name}"


def choose_backends(
    configured: Sequence[BackendChoice], names: Sequence[str]
) -> tuple[BackendChoice, ...]:
    """Return the backends named on the command line.

    Parameters
    ----------
    configured : sequence of BackendChoice
        Those of the config; those with a requested name keep their options.
    names : sequence of str
        Values of ``--backend``: names, or names with options such as ``emulator(bits=4)``. A path
        in one starts from the current folder.

    Raises
    ------
    InputError
        If a name is unknown, or two classes share one.
    """
    chosen: dict[str, list[BackendChoice]] = {}
    taken = _Names()
    for name in names:
        chosen[name] = [choice for choice in configured if choice.name == name]
        if not chosen[name]:
            try:
                target, options = split_options(name)
                choice = BackendChoice(target, options, target)
                _loaded(choice)
            except InputError as error:
                raise InputError(f"--backend {name}: {error}") from error
            chosen[name] = [choice]
        for choice in chosen[name]:
            if message := taken.taken(choice):
                raise InputError(f"--backend {name}: {message}")
    return tuple(choice for choices in chosen.values() for choice in choices)


def check_strategies(document: Document, section: Loc) -> None:
    """Check the strategies of a section, such as ``unpack``, by making an instance of each.

    Problems go to `document`.
    """
    value: Any = document.at((*section, "strategy"))
    for index, entry in enumerate(value if isinstance(value, list) else [value]):
        loc = (*section, "strategy", index)
        try:
            choice = strategy_choice(entry)
            if isinstance(choice, StrategyChoice):
                _strategy(document, choice, loc)
        except InputError as error:
            document.report((*loc, "name"), str(error))


def _strategy(document: Document, choice: StrategyChoice, loc: Loc) -> None:
    name, options, folder = choice.name, choice.options, document.path.parent
    if name == FUSED:
        if options:
            raise InputError(f"strategy {name!r} takes no options")
        return
    plugin, owner = strategy_class(name, folder), f"strategy {name!r}"

    def make() -> None:
        _check_json(options, owner)
        load_strategy(choice, folder=folder)

    if plugin is None or _options_fit(document, plugin, owner, options, loc):
        _can_be_made(document, make, loc)


def check_names(document: Document, loc: Loc, kind: str, known: Sequence[str]) -> None:
    """Check that the text at `loc`, or each text of the list there, is one of the known names."""
    value: Any = document.at(loc)
    for index, name in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(name, str) and name not in known:
            document.report((*loc, index), unknown_name(kind, name, known))
