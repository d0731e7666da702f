"""Keep freed memory with the process, so that repeats do not pay for fresh pages."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

REUSED = 128 << 20
"""Bytes of the largest block that is taken from freed memory."""

KEPT = 1 << 30
"""Freed bytes beyond which memory goes back to the system."""


def keep_freed_memory() -> None:
    """Have the C library hand out freed memory again instead of giving it back to the system.

    By default glibc maps every block of 32 MiB or more afresh, such as an exact product of 2048² in
    int64, and unmaps it when it is freed. Touching its pages for the first time then costs several
    times what writing to them does. A process that computes many products, or a kernel that writes
    into memory it is given, does not pay that; neither does PyTorch on a GPU, which keeps freed
    memory too. Baselines in the same process benefit equally. Nothing happens where the
    C library has no ``mallopt``.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(_M_MMAP_THRESHOLD, REUSED)
    mallopt(_M_TRIM_THRESHOLD, KEPT)
