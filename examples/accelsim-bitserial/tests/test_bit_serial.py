"""The bit-serial accelerator: the conformance kit, its planes and its cycles."""

import numpy as np
import pytest
import torch
from accelsim_bitserial import BitSerial
from accelsim_bitserial.planes import to_planes

from gemm_backends import GemmSpec, load_backend
from gemm_backends.conformance import BackendConformance


class TestBitSerial(BackendConformance):
    def make_backend(self):
        return BitSerial()


class TestBitSerialOf5By3Bits(BackendConformance):
    def make_backend(self):
        return BitSerial(bits=(5, 3), rows=4, columns=8, lanes=16)


def test_it_is_installed():
    assert isinstance(load_backend("bit-serial", rows=8), BitSerial)


def test_planes_add_up_to_the_digits():
    digits = torch.arange(-8, 8, dtype=torch.int8).reshape(2, 8)
    words = to_planes(digits, 4).words
    planes = np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")[:, :, :8].astype(int)
    weights = np.array([1, 2, 4, -8])
    assert (np.tensordot(weights, planes, 1) == digits.numpy()).all()


def test_digits_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="digits from 8 to 8 do not fit 4 bits"):
        to_planes(torch.full((1, 1), 8, dtype=torch.int8), 4)


@pytest.mark.parametrize(("bits_a", "bits_b"), [(8, 8), (4, 4), (8, 2), (3, 5)])
def test_cycles_grow_with_the_product_of_the_widths(bits_a, bits_b):
    backend = BitSerial(rows=32, columns=32, lanes=64)
    fill = 32 + 32 - 2
    spec = GemmSpec(bits_a, bits_b, n=33, d=640, h=32)
    assert backend.cost(spec).cycles == 2 * (bits_a * bits_b * 10 + fill)
