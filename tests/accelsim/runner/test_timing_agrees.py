"""The timer against `torch.utils.benchmark`, on the same GEMM, alternately."""

import torch
from torch.utils import benchmark

from accelsim.measure.statistics import median_interval
from accelsim.measure.timing import measure

ROUNDS = 7
BETWEEN = 5
ALLOWED = 0.05
"""By how much the medians may differ beyond their noise."""


def test_the_cpu_timer_agrees_with_torch():
    """On a busy machine the intervals are as wide as its noise, so no time is judged."""
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    timer = benchmark.Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b})
    ours, theirs = [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the Timer does; a core that is shared makes others wait
    try:
        for _ in range(ROUNDS):
            ours += measure(lambda: torch.mm(a, b), BETWEEN, 2).milliseconds
            theirs += [1e3 * timer.timeit(1).median for _ in range(BETWEEN)]
    finally:
        torch.set_num_threads(threads)
    mine, other = median_interval(ours), median_interval(theirs)
    assert mine.low <= (1 + ALLOWED) * other.high
    assert other.low <= (1 + ALLOWED) * mine.high
