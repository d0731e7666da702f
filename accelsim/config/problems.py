"""Places in a config, and the list of everything that is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from accelsim.errors import InputError

Loc: TypeAlias = tuple[str | int, ...]
"""The keys and indices that lead from the top of a config to a value."""


@dataclass(frozen=True, order=True)
class Place:
    """The place where a value was written.

    Parameters
    ----------
    rank : int
        0 in the file; later for options of the command line, in their order.
    line, column : int
        In the file, from 1; 0 for an option.
    text : str
        How a message names the place: ``FILE:LINE:COLUMN``, or the option.
    """

    rank: int
    line: int
    column: int
    text: str

    @classmethod
    def in_file(cls, path: object, line: int, column: int) -> Place:
        """Return a place in a file; `line` and `column` count from 1."""
        return cls(0, line, column, f"{path}:{line}:{column}")


@dataclass(frozen=True)
class Places:
    """The places of every value and of every key of a tree, by their `Loc`."""

    values: dict[Loc, Place] = field(default_factory=dict)
    keys: dict[Loc, Place] = field(default_factory=dict)

    def known_part(self, loc: Loc) -> Loc:
        """Return the longest beginning of `loc` that the config has.

        An index is left out where the config has a single value for a list of one.
        """
        known: Loc = ()
        for part in loc:
            if (*known, part) in self.values:
                known = (*known, part)
            elif isinstance(part, str):
                break
        return known

    def graft(self, loc: Loc, place: Place, other: Mapping[Loc, Any]) -> None:
        """Put the subtree `other` at `loc`, all of it at one place."""
        for places in (self.values, self.keys):
            for old in [key for key in places if key[: len(loc)] == loc]:
                del places[old]
        for size in range(1, len(loc)):
            self.values.setdefault(loc[:size], place)
            self.keys.setdefault(loc[:size], place)
        for inner in other:
            self.values[loc + inner] = place
            self.keys[loc + inner] = place


def dotted(loc: Loc) -> str:
    """Write a `Loc` as ``--set`` takes it: ``workloads.0.bundle``."""
    return ".".join(map(str, loc))


def shown(value: object) -> str:
    """Write a value as a config would, cut to about 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, float) and not math.isfinite(value):
        text = "." + str(abs(value)) if value != -math.inf else "-.inf"
    else:
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, at which key, and what."""

    place: Place
    loc: Loc
    message: str

    def __str__(self) -> str:
        where = f"{dotted(self.loc)}: " if self.loc else ""
        return f"{self.place.text}: {where}{self.message}"


def config_error(problems: Sequence[Problem]) -> InputError:
    """Make the error that lists problems by their place, one line each, without repetition."""
    ordered = sorted(problems, key=lambda problem: problem.place)
    lines = list(dict.fromkeys(map(str, ordered)))
    head = f"{len(lines)} problems in the config:\n" if len(lines) > 1 else ""
    return InputError(head + "\n".join(lines))
