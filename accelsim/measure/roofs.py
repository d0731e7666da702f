"""The memory bandwidth of a device: one of the two roofs of a roofline."""

from __future__ import annotations

import torch

from accelsim.measure.sampling import cache_bytes
from accelsim.measure.timing import measure

_REPEATS = 3


def bandwidth_gb_s(device: torch.device) -> float:
    """Return how fast a device copies memory, in 10^9 bytes per second, read and written.

    The arrays are four times as large as the last-level cache together, at most 1 GiB.
    """
    size = min(2 * cache_bytes(device), 2**29)
    source = torch.ones(size, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    times = measure(lambda: target.copy_(source), _REPEATS, 1, device)
    return 2 * size / (min(times.milliseconds) * 1e6)
