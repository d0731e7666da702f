"""Runs captured as CUDA graphs."""

import pytest
import torch

from accelsim.measure.graph import GraphedRun
from accelsim.measure.sampling import evictor

pytestmark = pytest.mark.gpu


def test_a_replay_reads_new_values_and_has_stages():
    device = torch.device("cuda")
    x = torch.ones(4096, 4096, device=device)

    def run(timer):
        with timer.stage("unpack"):
            y = x + 1
        with timer.stage("gemm"):
            z = y @ y
        with timer.stage("unpack"):
            return z + 1

    graphed = GraphedRun(run, device)
    assert float(graphed.replay()[0, 0]) == 4 * 4096 + 1
    x.fill_(2)
    times = graphed.times(evictor(device))
    assert float(graphed.result[0, 0]) == 9 * 4096 + 1
    assert times.keys() == {"unpack", "gemm", "total"}
    assert min(times.values()) > 0
