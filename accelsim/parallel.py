"""Spread a compiled kernel over the threads that torch uses."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

SMALL = 1 << 16
"""Entries below which starting a thread costs more than it saves."""


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
    (first, stop), *others = pairwise(edges)
    pool = _pool(threads - 1)
    started = [pool.submit(kernel, *part, *arguments) for part in others]
    return [kernel(first, stop, *arguments), *(part.result() for part in started)]


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="accelsim")


# The threads do not live on in a forked process.
os.register_at_fork(after_in_child=_pool.cache_clear)
