"""The C model: the conformance kit, at two widths of the accumulator."""

import torch
from accelsim_saturating_c import SaturatingC

from gemm_backends import OverflowReport, load_backend
from gemm_backends.conformance import BackendConformance


class TestSaturatingC(BackendConformance):
    def make_backend(self):
        return SaturatingC()


class TestWith18Bits(BackendConformance):
    def make_backend(self):
        return SaturatingC(accumulator_bits=18)


def test_it_is_installed_with_its_library():
    assert load_backend("saturating-c").availability().available


def test_a_sum_stops_at_the_limit_and_goes_on_from_there():
    a = torch.tensor([[127, 127, 127, -128]], dtype=torch.int8)
    b = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.int8)
    product, report = SaturatingC(accumulator_bits=8).multiply_report(a, b)
    assert product.tolist() == [[127 - 128, 127]]
    assert report == OverflowReport(2, (0, 0, 1))
