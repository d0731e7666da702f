"""Baselines timed in turn with the repeats of a record, and graphs where there are none."""

import pytest

from accelsim.config import load_config
from accelsim.records import Status
from accelsim.runner import bench as module
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import list_cases
from gemm_backends.baselines import Baseline

TEXT = """
workloads: [{{synthetic: {{n: 8, d: 16, h: 8}}}}]
quantize: {{beta: [7, 15]}}
unpack: {{bits: 8, strategy: row}}
backends: [int64]
baselines: [fp32, bf16]
timing: {{repeats: 3, warmup: 2, interleaved: {interleaved}, graph: {graph}}}
output: run
"""


@pytest.fixture
def calls(monkeypatch):
    """What is called, in order: baselines, and the backend's product as a dash."""
    calls = []

    class Recording(Baseline):
        def __init__(self, name):
            self.name = name

        def prepare(self, operand):
            return operand

        def matmul(self, a, b):
            calls.append(self.name)
            return a @ b.mT

    monkeypatch.setattr(module, "load_baseline", Recording)
    repeat = module.Trial.repeat
    monkeypatch.setattr(
        module.Trial, "repeat", lambda *given: (calls.append("-"), repeat(*given))[1]
    )
    return calls


def records(tmp_path, interleaved=False, graph=False):
    path = tmp_path / "c.yaml"
    path.write_text(TEXT.format(interleaved=str(interleaved).lower(), graph=str(graph).lower()))
    config = load_config(path)
    bench = CaseBench(config)
    return [bench.record(case) for case in list_cases(config, config.gemms())]


def test_each_round_begins_with_another_candidate(calls, tmp_path):
    first, second = records(tmp_path, interleaved=True)
    rounds = ["-", "fp32", "bf16"], ["fp32", "bf16", "-"], ["bf16", "-", "fp32"]
    expected = [name for turn in (0, 1, 2, 0, 1) for name in rounds[turn]]
    assert calls == 2 * expected
    for record in (first, second):
        assert (record.status, record.timing.interleaved) == (Status.OK, True)
        assert {name: len(times) for name, times in record.baseline_samples_ms.items()} == {
            "fp32": 3,
            "bf16": 3,
        }
        assert record.speedup_vs.keys() == {"fp32", "bf16"}


def test_otherwise_baselines_are_timed_once_for_a_gemm(calls, tmp_path):
    first, second = records(tmp_path)
    assert calls == ["-"] * 5 + ["fp32"] * 5 + ["bf16"] * 5 + ["-"] * 5
    assert first.baseline_samples_ms == second.baseline_samples_ms
    assert not first.timing.interleaved


def test_what_cannot_be_captured_as_a_graph_says_so(tmp_path):
    for record in records(tmp_path, graph=True):
        assert record.status is Status.UNSUPPORTED
        assert "only a fused route on an NVIDIA GPU" in record.reason
