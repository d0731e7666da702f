"""Tests: the conformance kit, and whatever is particular to this accelerator."""

import pytest
from my_accelerator import MyAccelerator

from gemm_backends import GemmSpec, load_backend
from gemm_backends.conformance import BackendConformance


class TestMyAccelerator(BackendConformance):
    def make_backend(self):
        return MyAccelerator()


def test_it_is_installed():
    assert isinstance(load_backend("my-accelerator", rows=32), MyAccelerator)


@pytest.mark.parametrize(("n", "cycles"), [(1, 64 + 30), (16, 64 + 30), (17, 2 * (64 + 30))])
def test_cycles(n, cycles):
    assert MyAccelerator().cost(GemmSpec(8, 8, n, 64, 16)).cycles == cycles
