"""Globs that choose GEMMs of a model and match none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from accelsim.errors import InputError
from workloads.gemm import listed


class Globs:
    """Sees the GEMMs that a model runs, and finds globs that none of them matches.

    Parameters
    ----------
    globs : mapping
        What messages call a list of globs, such as ``skip``, to the globs.
    """

    def __init__(self, globs: Mapping[str, Sequence[str]]) -> None:
        self._unmatched = [(key, glob) for key, several in globs.items() for glob in several]
        self._names: dict[str, None] = {}

    def see(self, name: str) -> None:
        """Record a GEMM's place."""
        if name not in self._names:
            self._names[name] = None
            self._unmatched = [
                (key, glob) for key, glob in self._unmatched if not fnmatchcase(name, glob)
            ]

    def check(self) -> None:
        """Raise if a glob has matched nothing, though GEMMs ran.

        Raises
        ------
        InputError
            With the names of the GEMMs that ran.
        """
        if self._names and self._unmatched:
            key, glob = self._unmatched[0]
            names = listed(self._names)
            raise InputError(f"{key}: no GEMM matches {glob!r}; the model ran: {names}")
