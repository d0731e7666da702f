"""The CUDA timer against `triton.testing.do_bench`, on the same GEMM, alternately."""

import statistics

import pytest
import torch

from accelsim.sampling import Plan, evictor
from accelsim.timing import measure

ROUNDS = 5

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [1024, 4096])
def test_the_cuda_timer_agrees_with_triton(size):
    """Both empty the L2 cache before every call and read events; do_bench returns the median."""
    testing = pytest.importorskip("triton.testing")
    device = torch.device("cuda")
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    evict = evictor(device)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        times = measure(lambda: torch.mm(a, b), 50, 10, device, before=evict)
        ours.append(statistics.median(times.milliseconds))
        theirs.append(testing.do_bench(lambda: torch.mm(a, b), return_mode="median"))
    noise = max(spread(ours), spread(theirs), 0.05)
    assert statistics.median(ours) == pytest.approx(statistics.median(theirs), rel=noise)


def test_a_plan_times_a_cold_cache_longer_than_a_warm_one():
    device = torch.device("cuda")
    a = torch.randn(1 << 21, device=device)
    cold, warm = (
        statistics.median(Plan(3, 50, cache=cache).sample(lambda: a.add(1), device).milliseconds)
        for cache in ("cold", "warm")
    )
    assert cold > warm


def spread(values):
    """Return how far the values of several rounds lie apart, relative to their median."""
    return (max(values) - min(values)) / statistics.median(values)
