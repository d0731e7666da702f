"""Room for a plug-in's code, which may print, fork or go to another folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

_STDOUT, _STDERR = 1, 2


@contextmanager
def guest() -> Iterator[None]:
    """Run a plug-in's code so that it disturbs neither the output nor other plug-ins.

    What it prints, by Python or in processes that it starts, goes to stderr; the working directory
    is put back; a process that it forks and leaves running ends with it.
    """
    process, folder = os.getpid(), _working_directory()
    with _printing_to_stderr():
        try:
            yield
        finally:
            if os.getpid() != process:
                os._exit(0)
            if folder is not None and _working_directory() != folder:
                os.chdir(folder)


def _working_directory() -> str | None:
    """Return the working directory; None if it was removed."""
    with suppress(FileNotFoundError):
        return os.getcwd()  # noqa: PTH109
    return None


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    out = sys.stdout
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # a program may run without it
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        _flush(out)
        os.dup2(_STDERR, _STDOUT)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _flush(out)
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush(stream: object) -> None:
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()
