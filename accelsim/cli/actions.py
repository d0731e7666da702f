"""Flags that backends add to a command, such as ``verify --rtl``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import click

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.registry import split_reference
from gemm_backends.actions import GROUP, Action, Outcome, added_actions

if TYPE_CHECKING:
    from gemm_backends import GemmBackend

_ARGUMENTS = f"{__name__}.arguments"

_OWN = "accelsim"
"""The package whose backends have no `actions` of their own: entry points alone add theirs."""


class ActionCommand(click.Command):
    """A command with the flags that backends declare for it, in addition to its own options.

    The callback gets them as keyword arguments. They are those of the installed backends and of
    every ``path/to/file.py:ClassName`` on the command line; a backend that cannot be loaded adds
    none.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the arguments, which may name a backend's file, and parse them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and the backends' flags."""
        own = super().get_params(ctx)
        taken = {option for parameter in own for option in parameter.opts}
        texts: dict[str, dict[str, list[str]]] = {}
        for name, action in _every_action(ctx.meta.get(_ARGUMENTS, [])):
            if action.command == self.name and f"--{action.flag}" not in taken:
                texts.setdefault(action.flag, {}).setdefault(action.help, []).append(name)
        added = [
            click.Option(
                [f"--{flag}"],
                is_flag=True,
                help=" ".join(f"{text} [{', '.join(names)}]" for text, names in helps.items()),
            )
            for flag, helps in sorted(texts.items())
        ]
        return [*own, *added]


def chosen(flags: dict[str, Any]) -> list[str]:
    """Return the flags that were given, spelled as on the command line."""
    return [name.replace("_", "-") for name, given in flags.items() if given]


def find_action(backend: type[GemmBackend], command: str, flag: str) -> Action:
    """Return a backend's action for a flag of a command.

    Raises
    ------
    InputError
        If it has none.
    """
    known = {action.flag: action for action in _actions(backend, command)}
    if flag not in known:
        message = unknown_name("flag", f"--{flag}", [f"--{name}" for name in known])
        raise InputError(f"{message} of backend {backend.name!r}")
    return known[flag]


def backends_with_action(command: str, flag: str) -> list[str]:
    """Return the installed backends that have an action for a flag of a command."""
    return [
        backend.name
        for backend in _backends([])
        if any(action.flag == flag for action in _actions(backend, command))
    ]


def outcomes(action: Action, backend: GemmBackend) -> Iterator[Outcome]:
    """Run an action of a backend; any exception is a failed outcome."""
    try:
        yield from action.run(backend)
    except Exception as error:  # a plug-in may raise anything
        yield Outcome(f"--{action.flag}", "failed", f"raised {type(error).__name__}: {error}")


def _every_action(arguments: Sequence[str]) -> Iterator[tuple[str, Action]]:
    """Yield the actions of all backends, each with the backend's name.

    The backends are imported, and with them PyTorch, only if one of them may have actions that no
    entry point tells: one of another package, in a file on the command line, or registered.
    """
    points = entry_points(group="accelsim.backends")
    others = any(point.dist is None or point.dist.name != _OWN for point in points)
    if others or any(map(split_reference, arguments)) or "gemm_backends.loading" in sys.modules:
        for backend in _backends(arguments):
            for action in _all_actions(backend):
                yield backend.name, action
        return
    for name in sorted({point.name for point in entry_points(group=GROUP)}):
        for action in _added(name):
            yield name, action


def _actions(backend: type[GemmBackend], command: str) -> list[Action]:
    """Return the actions for a command, without those of a backend that fails to list them."""
    return [action for action in _all_actions(backend) if action.command == command]


def _all_actions(backend: type[GemmBackend]) -> list[Action]:
    try:
        own = [*backend.actions()]
    except Exception:  # a plug-in may raise anything
        own = []
    return [*own, *_added(backend.name)]


def _added(name: str) -> list[Action]:
    try:
        return [*added_actions(name)]
    except Exception:  # a plug-in may raise anything
        return []


def _backends(arguments: Sequence[str]) -> list[type[GemmBackend]]:
    from gemm_backends import backend_class, list_backends

    found = []
    for name in [*list_backends(), *filter(split_reference, arguments)]:
        try:
            found.append(backend_class(name))
        except InputError:
            continue
    return found
