"""Tests: the conformance kit, and whatever is particular to this accelerator."""

from my_accelerator import MyAccelerator

from gemm_backends import load_backend
from gemm_backends.conformance import BackendConformance


class TestMyAccelerator(BackendConformance):
    def make_backend(self):
        return MyAccelerator()


# The kit checks one instance, and digits of up to its `bits`. For other options, such as another
# width or size, add a class like this one whose make_backend passes them.


def test_it_is_installed_with_its_library():
    backend = load_backend("my-accelerator")
    assert isinstance(backend, MyAccelerator)
    assert backend.availability().available
