"""Proofs of exactness at their bounds: sums that are just within a limit, and one beyond it."""

import pytest
import torch

from accelsim.arithmetic.bounds import fits_int64, largest, longest_k, round_up
from accelsim.arithmetic.rounding import quantize
from accelsim.arithmetic.totals import total
from accelsim.errors import DataError
from accelsim.unpack import DigitSystem
from accelsim.unpack.kernels.base import OperandKernels, batched_integers, batched_shape
from gemm_backends.cpu import exact
from gemm_backends.cpu.exact import exact_product


def integers(a, b):
    """Multiply in Python's integers, ``[n, d]`` by ``[h, d]``."""
    return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in b] for r in a]


@pytest.mark.parametrize(
    ("values", "most"),
    [([], 0), ([0, 0], 0), ([3, -7], 7), ([-3, 7], 7), ([-128, 127], 128), ([-5, -2], 5)],
)
def test_the_largest_magnitude(values, most):
    assert largest(torch.tensor(values, dtype=torch.int64)) == most


def test_multiples():
    assert [round_up(size, 8) for size in (0, 1, 7, 8, 9, 16, 17)] == [0, 8, 8, 8, 16, 16, 24]


def test_sums_of_what_is_known():
    assert total([1, 2.5]) == 3.5
    assert total([]) == 0
    assert total([1, None]) is None
    assert total([None]) is None


@pytest.mark.parametrize(
    ("d", "a", "b", "fits"),
    [
        (1, 2**62, 1, True),
        (2, 2**62, 1, False),
        (1, 2**63 - 1, 1, True),
        (1, 1, 2**63, False),
        (7, 7, 2**63 // 49, True),
        (7, 7, 2**63 // 49 + 1, False),
        (0, 2**62, 2**62, True),
    ],
)
def test_what_fits_64_bits(d, a, b, fits):
    assert fits_int64(d, a, b) is fits
    assert fits is (d * a * b <= 2**63 - 1)


@pytest.mark.parametrize("bits", [2, 8, 16, 24, 32, 64])
@pytest.mark.parametrize("step", [1, 3, 127 * 128, 128 * 128, 32768 * 32768])
def test_the_longest_sum_is_the_last_that_fits(bits, step):
    k = longest_k(bits, step, 1)
    assert k * step <= 2 ** (bits - 1) - 1 < (k + 1) * step
    assert longest_k(bits, 0, step) is None
    assert longest_k(bits, step, 0) is None


def test_eight_bits_and_32():
    assert longest_k(32, 128, 128) == 131_071


# Products in floats -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [2**15 - 1, -(2**15)])
@pytest.mark.parametrize("d", [1, 255, 256, 257, 1023])
def test_floats_that_multiply_integers_are_cut_where_they_must_be(value, d):
    a, b = torch.full((2, d), value), torch.full((3, d), value - (value > 0))
    a[0, d // 2] = 1
    assert exact_product(a, b).tolist() == integers(a.tolist(), b.tolist())


def used(monkeypatch):
    """Return the types in which products are computed, as they come."""
    seen = []
    multiply = torch.Tensor.__matmul__

    def spy(a, b):
        seen.append((a.dtype, a.shape[-1]))
        return multiply(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", spy)
    return seen


@pytest.mark.parametrize(
    ("a", "b", "d", "dtype", "lengths"),
    [
        (128, 128, 1024, torch.float32, [1024]),
        (128, 128, 1025, torch.float32, [1024, 1]),
        (256, 256, 256, torch.float32, [256]),
        (256, 256, 257, torch.float32, [256, 1]),
        (257, 256, 255, torch.float32, [255]),
        (257, 256, 256, torch.float64, [256]),
        (4096, 4096, 1, torch.float32, [1]),
        (4096, 4096, 2, torch.float64, [2]),
        (32768, 32768, 3, torch.float64, [3]),
        (2**26, 2**26, 3, torch.float64, [2, 1]),
        (0, 5, 3000, torch.float32, [3000]),
    ],
)
def test_the_type_is_the_shortest_that_holds_every_sum(monkeypatch, a, b, d, dtype, lengths):
    seen = used(monkeypatch)
    left, right = torch.full((1, d), -a), torch.full((1, d), b)
    assert exact_product(left, right).item() == -a * b * d
    assert seen == [(dtype, length) for length in lengths]


def test_without_full_float32_it_is_float64(monkeypatch):
    monkeypatch.setattr(exact, "float32_is_ieee", lambda device: False)
    seen = used(monkeypatch)
    assert exact_product(torch.ones(1, 4), torch.ones(1, 4)).item() == 4
    assert seen == [(torch.float64, 4)]


def test_products_of_a_batch_and_of_nothing():
    a, b = torch.randint(-9, 9, (2, 3, 4)), torch.randint(-9, 9, (2, 5, 4))
    expected = [integers(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert exact_product(a, b).tolist() == expected
    assert exact_product(torch.ones(2, 0), torch.ones(3, 0)).tolist() == [[0, 0, 0]] * 2


# Operands and lanes -------------------------------------------------------------------------------


def test_integers_are_below_2_to_the_62():
    most = 2**62 - 1
    for value in (most, -most):
        assert batched_integers(torch.tensor([[value]])).item() == value
    for value in (2**62, -(2**62)):
        with pytest.raises(DataError, match=f"magnitude {2**62}; they must be below 2\\^62"):
            batched_integers(torch.tensor([[value]]))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**31 - 1, torch.int32),
        (-(2**31) + 1, torch.int32),
        (2**31, torch.int64),
        (-(2**31), torch.int64),
    ],
)
def test_integers_are_as_narrow_as_they_may_be(value, dtype):
    found = batched_integers(torch.tensor([[value]]))
    assert (found.item(), found.dtype, found.shape) == (value, dtype, (1, 1, 1))


def test_integers_of_other_types_and_shapes():
    found = batched_integers(torch.tensor([[-7, 3]], dtype=torch.int8))
    assert (found.tolist(), found.dtype) == ([[[-7, 3]]], torch.int32)
    narrow = torch.tensor([[1]], dtype=torch.int32)
    assert batched_integers(narrow).data_ptr() == narrow.data_ptr()
    quantized = quantize(torch.tensor([[2.0, -8.0]]), 100, 16.0)
    assert batched_integers(quantized).tolist() == [[[2, -8]]]
    assert batched_shape(quantized) == (1, 1, 2)
    assert batched_shape(torch.ones(4, 2, 3)) == (4, 2, 3)
    kernels = OperandKernels(torch.ones(5, 3, dtype=torch.int32), DigitSystem("balanced", 8))
    lines = kernels.lines(0, torch.tensor([1, 3, 2, 1, 3]))
    assert [rows.tolist() for rows in lines] == [[1, 2, 4], [1, 4]]
    assert kernels.lines(0, torch.tensor([1, 1])) == []
    assert kernels.lines(0, torch.tensor([], dtype=torch.int64)) == []
