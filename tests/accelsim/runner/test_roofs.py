"""What a run measures for its roofline."""

import json

import pytest
import torch

from accelsim.cli import main
from accelsim.measure.roofs import bandwidth_gb_s
from accelsim.runner.peak import peak_tops
from accelsim.types import PerOperand
from gemm_backends import Accumulator, GemmBackend, Support

CONFIG = """\
workloads: [{synthetic: {n: 9, d: 16, h: 7, seed: 0}}]
unpack: {bits: [4, 8]}
backends: [int64]
timing: {repeats: 1, warmup: 0, roofline: true}
output: out
"""


class Counted(GemmBackend, abstract=True):
    """Notes what it is given."""

    name = "counted"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def __init__(self):
        self.seen = []

    def matmul(self, a, b):
        self.seen.append((a.shape, b.shape, int(a.max()), int(b.min())))
        return a.int() @ b.int().mT


class Small(Counted):
    """Takes no more than 256 rows."""

    def supports(self, spec):
        return Support(spec.n <= 256, "too many rows")


def test_the_peak_is_that_of_square_gemms_of_full_range_digits():
    backend = Small()
    assert peak_tops(backend, PerOperand(8, 4), torch.device("cpu")) > 0
    shapes = {tuple(a) for a, _, _, _ in backend.seen}
    assert shapes == {(128, 128), (256, 256)}
    assert {(largest, smallest) for _, _, largest, smallest in backend.seen} == {(127, -7)}


def test_a_backend_that_takes_no_such_gemm_has_no_peak():
    class Nothing(Counted):
        def supports(self, spec):
            return Support(False, "nothing")

    assert peak_tops(Nothing(), PerOperand.both(8), torch.device("cpu")) is None


def test_a_copy_has_a_rate():
    assert 0 < bandwidth_gb_s(torch.device("cpu")) < 10_000


@pytest.mark.parametrize("isolated", [False, True])
def test_a_run_keeps_its_roofs(tmp_path, monkeypatch, isolated):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(path), *(["--isolate"] if isolated else [])])
    assert not exit_.value.code
    roofs = json.loads((tmp_path / "out" / "run.json").read_text())["sessions"][0]["roofs"]
    (of_backend,) = roofs["compute"]
    assert of_backend["backend"] == "int64"
    assert of_backend["tops"] > 0
    assert roofs["bandwidth_gb_s"].keys() == {"cpu"}
