"""Tests: the conformance kit, and whatever is particular to this accelerator."""

from my_accelerator import MyAccelerator

from gemm_backends import load_backend
from gemm_backends.conformance import BackendConformance


class TestMyAccelerator(BackendConformance):
    def make_backend(self):
        return MyAccelerator()


def test_it_is_installed():
    assert isinstance(load_backend("my-accelerator"), MyAccelerator)
