"""The accelerator does what it says: the conformance kit, and what is particular to it."""

from my_accelerator import MyAccelerator

from gemm_backends import load_backend
from gemm_backends.conformance import BackendConformance


class TestMyAccelerator(BackendConformance):
    def make_backend(self):
        return MyAccelerator()


def test_it_is_installed_with_its_library():
    backend = load_backend("my-accelerator")
    assert isinstance(backend, MyAccelerator)
    assert backend.availability().available
