"""The CUDA timer against `triton.testing.do_bench`, on the same GEMM, alternately."""

import statistics

import pytest
import torch

from accelsim.measure.sampling import RepeatPlan, evictor
from accelsim.measure.statistics import median_interval
from accelsim.measure.timing import measure

ROUNDS, ATTEMPTS = 5, 3
ALLOWED = 0.05
"""By how much the medians may differ beyond their noise."""

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [1024, 4096])
def test_the_cuda_timer_agrees_with_triton(size):
    """Both write through a buffer larger than the L2 cache before every call, and read events."""
    testing = pytest.importorskip("triton.testing")
    device = torch.device("cuda")
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    evict = evictor(device)
    for _ in range(ATTEMPTS):  # the clocks of a GPU that others use too may change in between
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours += measure(lambda: torch.mm(a, b), 50, 10, device, before=evict).milliseconds
            theirs += testing.do_bench(lambda: torch.mm(a, b), return_mode="all")
        mine, other = median_interval(ours), median_interval(theirs)
        if mine.low <= (1 + ALLOWED) * other.high and other.low <= (1 + ALLOWED) * mine.high:
            return
    raise AssertionError(f"the timers disagree: {mine} here, {other} by Triton")


def test_a_plan_times_a_cold_cache_longer_than_a_warm_one():
    device = torch.device("cuda")
    a = torch.randn(1 << 21, device=device)
    cold, warm = (
        statistics.median(
            RepeatPlan(3, 50, cache=cache).sample(lambda: a.add(1), device).milliseconds
        )
        for cache in ("cold", "warm")
    )
    assert cold > warm
