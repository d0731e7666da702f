"""How often something is timed, and with which state of the caches and the machine."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from accelsim.measure.statistics import relative_error
from accelsim.measure.timing import Samples, measure

Cache: TypeAlias = Literal["warm", "cold"]

MOST_REPEATS = 1000
"""Upper limit on repeats, whatever the error target."""

_CPU_CACHE_DEFAULT = 64 * 2**20


@dataclass(frozen=True)
class RepeatPlan:
    """When there are enough repeats.

    Parameters
    ----------
    warmup : int
        Repeats that are not timed.
    repeats : int
        Timed repeats; with a `target_error` the smallest number, but at least as many as an
        interval needs.
    target_error : float or None
        Repeat until half the width of the median's 95% interval is at most this part of it.
    budget_s : float
        With a `target_error`: start no further repeat after this many seconds.
    cache : {"warm", "cold"}
        Whether the operands may still be in the caches when a repeat starts.
    """

    warmup: int
    repeats: int
    target_error: float | None = None
    budget_s: float = 10.0
    cache: Cache = "warm"

    def enough(self, totals: Sequence[float], seconds: float) -> bool:
        """Return whether to stop.

        Parameters
        ----------
        totals : sequence of float
            The times of the repeats so far.
        seconds : float
            How long they took altogether, and what was done between them.
        """
        if len(totals) < self.repeats:
            return False
        if self.target_error is None or seconds >= self.budget_s or len(totals) >= MOST_REPEATS:
            return True
        error = relative_error(totals)
        return error is not None and error <= self.target_error

    def sample(self, function: Callable[[], object], device: torch.device) -> Samples:
        """Time calls of one function by this plan; see `accelsim.measure.timing.measure`."""
        evict = evictor(device) if self.cache == "cold" else None
        start = time.perf_counter()
        times: tuple[float, ...] = ()
        warmup = max(self.warmup, 1)
        while not self.enough(times, time.perf_counter() - start):
            more = self.repeats if not times else max(1, len(times) // 2)
            times += measure(function, more, warmup, device, before=evict).milliseconds
            warmup = 0
        return Samples(times)


def evictor(device: torch.device) -> Callable[[], None]:
    """Return a function that writes through twice the last-level cache of a device.

    On an NVIDIA GPU, lines that a kernel asked the L2 cache to keep are given up first.
    """
    buffer = torch.zeros(2 * cache_bytes(device), dtype=torch.int8, device=device)
    release = _persisting_lines() if device.type == "cuda" else None

    def evict() -> None:
        if release is not None:
            release()
        buffer.add_(1)

    return evict


HEAD_START_CYCLES = 4_000_000
"""Two milliseconds or more at the clocks of a GPU: a route queues its first stages in less."""


def with_head_start(
    before: Callable[[], None] | None, device: torch.device
) -> Callable[[], None] | None:
    """Give the host a head start over a GPU, so that launching is not timed.

    Parameters
    ----------
    before : callable or None
        What to do first, such as emptying the caches.
    device : torch.device
        On a CUDA device the returned function then keeps the GPU waiting for a while; otherwise it
        is `before` itself.
    """
    if device.type != "cuda":
        return before

    def ahead() -> None:
        if before is not None:
            before()
        torch.cuda._sleep(HEAD_START_CYCLES)  # type: ignore[no-untyped-call]

    return ahead


def _persisting_lines() -> Callable[[], object]:
    """Return the driver's function that makes all persisting lines of the L2 cache normal ones."""
    function: Callable[[], object] = ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache
    return function


def cache_bytes(device: torch.device) -> int:
    """Return the size of a device's last-level cache in bytes (64 MiB where it is unknown)."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    found = [_bytes(file.read_text()) for file in sizes]
    return max(found, default=_CPU_CACHE_DEFAULT)


def _bytes(size: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = size.strip()
    return int(number[:-1]) * units[number[-1]] if number[-1:] in units else int(number)


def load_per_core() -> float:
    """Return the machine's load average over the last minute, per core that we may use."""
    return os.getloadavg()[0] / len(os.sched_getaffinity(0))
