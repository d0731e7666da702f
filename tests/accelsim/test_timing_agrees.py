"""The timer against `torch.utils.benchmark`, on the same GEMM, alternately."""

import statistics

import torch
from torch.utils import benchmark

from accelsim.timing import measure

ROUNDS = 7
BETWEEN = 5


def test_the_cpu_timer_agrees_with_torch():
    """No time is judged: both timers see the same work on the same busy machine, in turns.

    A timer that left out the work, waited for something else or mistook its unit would be off by
    far more than the factor of 1.5 that is allowed here between the fastest of many calls.
    """
    a, b = torch.randn(384, 384), torch.randn(384, 384)
    timer = benchmark.Timer(
        "torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b},
        num_threads=torch.get_num_threads(),
    )  # fmt: skip
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours += measure(lambda: torch.mm(a, b), BETWEEN, 2).milliseconds
        theirs += [1e3 * timer.timeit(1).median for _ in range(BETWEEN)]
    assert 1 / 1.5 < min(ours) / min(theirs) < 1.5, (
        statistics.median(ours), statistics.median(theirs),
    )  # fmt: skip
