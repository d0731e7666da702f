"""``accelsim run`` on a GPU: unwritten results are found; out of memory costs one record."""

import json

import pytest

from accelsim.cli import main

BACKENDS = '''
import torch
from gemm_backends import Accumulator, Availability, GemmBackend


class Lazy(GemmBackend):
    """Writes its first result, and afterwards returns memory as it finds it."""

    name = "lazy"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")
    calls = 0

    def availability(self):
        return Availability(True, execution="native", device="cuda")

    def matmul(self, a, b):
        product = torch.empty((a.shape[0], b.shape[0]), dtype=torch.int32, device=a.device)
        Lazy.calls += 1
        if Lazy.calls == 1:
            product.copy_(a.double() @ b.double().T)
        return product


class Greedy(Lazy):
    name = "greedy"

    def matmul(self, a, b):
        return torch.empty((1 << 22, 1 << 22), dtype=torch.int32, device=a.device)
'''

CONFIG = """
name: test
workloads:
  - synthetic: {n: 64, d: 128, h: 32, seed: 0}
quantize: {percentile: 95, beta: 15}
unpack: {bits: 8, strategy: row}
backends: [BACKENDS]
timing: {repeats: 3, warmup: 1}
"""


@pytest.fixture
def records(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(BACKENDS)

    def run(*names):
        config = tmp_path / "config.yaml"
        listed = ", ".join(name if name.islower() else f"'{file}:{name}'" for name in names)
        config.write_text(CONFIG.replace("BACKENDS", listed))
        with pytest.raises(SystemExit) as ended:
            main(["run", str(config), "--output", str(tmp_path / "out")])
        lines = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
        return ended.value.code, [json.loads(line) for line in lines]

    return run


def test_memory_that_a_backend_left_as_it_was_is_not_the_result_of_the_run_before(records):
    code, (record,) = records("Lazy")
    assert code == 1
    assert record["status"] == "inexact"


def test_running_out_of_memory_costs_one_record(records):
    code, (failed, other) = records("Greedy", "cuda-int8")
    assert code == 1
    assert failed["status"] == "error"
    assert "out of GPU memory in stage 'gemm'" in failed["reason"]
    assert "65536.00 GiB were requested" in failed["reason"]
    assert other["status"] == "ok"
