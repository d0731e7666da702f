"""Spread a compiled kernel over the threads that torch uses."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

SMALL = 1 << 16
"""Entries below which starting a thread costs more than it saves."""

_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def over_lines(
    kernel: Callable[..., Result], lines: int, entries_per_line: int, *arguments: Any
) -> list[Result]:
    """Call `kernel` on ranges of lines that make up all of them, on torch's number of threads.

    Parameters
    ----------
    kernel : callable
        Takes the first line, the one after the last, and `arguments`; runs without the GIL.
    lines : int
        Number of lines.
    entries_per_line : int
        How much work a line is.
    *arguments
        What every call is given.

    Returns
    -------
    list
        What each call returned, in the order of the ranges.
    """
    threads = min(torch.get_num_threads(), lines * entries_per_line // SMALL, lines)
    if threads <= 1:
        return [kernel(0, lines, *arguments)]
    edges = [lines * part // threads for part in range(threads + 1)]
    calls = [functools.partial(kernel, *part, *arguments) for part in pairwise(edges)]
    openmp = None if _forked else _openmp()
    return _in_pool(calls) if openmp is None else _in_team(openmp, calls)


def _in_team(openmp: ctypes.CDLL, calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make calls on torch's own threads, as GCC compiles ``#pragma omp parallel``.

    After an operation of torch its threads wait for the next one without sleeping, for
    milliseconds; others would have to share the cores with them.
    """
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    left = iter(range(len(calls)))

    def body(_: object) -> None:
        try:
            for part in left:
                results[part] = calls[part]()
        except BaseException as error:
            errors.append(error)

    # A team of another size would have libgomp end threads that torch's next operation wants.
    openmp.GOMP_parallel(_BODY(body), None, torch.get_num_threads(), 0)
    if errors:
        raise errors[0]
    return [results[part] for part in range(len(calls))]


def _in_pool(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make calls on threads of our own."""
    first, *others = calls
    started = [_pool(len(others)).submit(call) for call in others]
    return [first(), *(call.result() for call in started)]


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """Return the OpenMP library that torch was loaded with, if it is one with GCC's interface."""
    for path in Path(torch.__file__).parent.glob("lib/libgomp*.so*"):
        library = ctypes.CDLL(str(path))
        library.GOMP_parallel.argtypes = [_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
        return library
    return None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="accelsim")


def _after_fork() -> None:
    """Use new threads of our own: none of the old ones survives in a forked process."""
    global _forked
    _forked = True
    _pool.cache_clear()


_forked = False
os.register_at_fork(after_in_child=_after_fork)
