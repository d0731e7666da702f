"""What an estimate of a run is scaled up from."""

import pytest
import torch

from accelsim.config import load_config
from accelsim.runner.cases import list_settings
from accelsim.runner.estimate import typical
from accelsim.runner.estimate_counts import RECORD_S, CountEstimate, CountSample, mean
from workloads import Gemm


def gemm(n):
    def never():
        raise AssertionError("not read")

    return Gemm(
        workload="w", name=f"g{n}", op="linear", phase="forward", layer="", batch=1, n=n, d=8, h=8,
        load=never,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5], 5),
        ([7, 7, 7], 7),
        ([1] * 50 + [1000], 1000),
        ([1000] + [1] * 50, 1000),
        ([10] * 9 + [80], 10),
        ([1, 2, 3], 2),
    ],
)
def test_half_of_the_multiplications_are_in_gemms_up_to_the_typical_one(sizes, expected):
    assert typical([gemm(n) for n in sizes]).n == expected


COUNTED = """
workloads: [{model: llama-2-7b, tokens: 96, gemms: ["layers.*.attention.qk", layers.0.up]}]
quantize: {beta: 15}
unpack: {bits: [4, 8], strategy: mix}
backends:
  - {name: emulator, array: [16, 16]}
  - {name: emulator, array: [16, 16], dataflow: weight-stationary}
product: none
"""


@pytest.fixture
def counted(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(COUNTED)
    config = load_config(path)
    return CountEstimate(config, config.gemms()), list_settings(config)


def test_what_is_counted_costs_by_the_entries_that_are_unpacked_once(counted):
    estimate, settings = counted
    first, second = settings[::2], settings[1::2]  # the two backends
    assert len(first) == len(second) == 2
    sample, shared = CountSample(prepare_per_entry=1e3, count=10.0, ratio=1.0), set()
    # Of 33 GEMMs the products of queries and keys are one kind, of which one head is unpacked.
    entries = (96 + 96) * 128 + (96 + 4096) * 4096
    fixed = 2 * (33 * RECORD_S + 2 * 10.0)
    assert estimate.largest(first) == (96 + 4096) * 4096
    assert estimate.seconds(first, sample, shared) == pytest.approx(fixed + 2e3 * entries)
    assert estimate.seconds(second, sample, shared) == pytest.approx(fixed), "unpacked before"


def test_a_sample_of_what_is_counted_multiplies_nothing_and_has_its_ratio(counted, monkeypatch):
    estimate, settings = counted
    backend = type(settings[0].backend)
    monkeypatch.setattr(backend, "matmul", lambda *_: pytest.fail("a product was computed"))
    samples = [estimate.sample(setting, torch.device("cpu")) for setting in settings]
    assert all(sample.prepare_per_entry > 0 and sample.count > 0 for sample in samples)
    assert samples[0].ratio > samples[2].ratio >= 1
    assert mean([CountSample(1, 2, 3), CountSample(3, 4, 5)]) == CountSample(2, 3, 4)
