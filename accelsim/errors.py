"""Errors that a user sees as one message, and suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AccelsimError(Exception):
    """An error that ends the command and is explained by one message.

    The command line prints the message without a traceback and ends with `exit_code`.
    """

    exit_code = 1


class InputError(AccelsimError):
    """A config, bundle, matrix or option is wrong; the message says what is right."""

    exit_code = 2


class DataError(InputError):
    """The values of an operand do not allow what was asked (NaN, an undefined scale, too large)."""


class UnsupportedError(AccelsimError):
    """A backend does not do what it was asked for; the message says why."""


class InterruptedRunError(AccelsimError):
    """Ctrl-C or SIGTERM ended a run after a record."""

    exit_code = 130


class NothingCouldRunError(AccelsimError):
    """Every backend that was asked for is unavailable on this machine."""

    exit_code = 3


MOST_NAMES = 20
"""If one name of more is near to what was given, the others are not listed."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Describe an unknown name, with the nearest known name and the list of all.

    Parameters
    ----------
    kind : str
        What the name should have named, such as ``"backend"``.
    name : object
        The name that was given.
    known : iterable of str
        All names that are allowed.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if close and len(names) > MOST_NAMES:
        return f"unknown {kind} {str(name)!r}{hint} ({len(names)} are known)"
    return f"unknown {kind} {str(name)!r}{hint} (known: {', '.join(names) or 'none'})"
