import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.rounding import alpha, quantize, rank
from accelsim.errors import DataError


@pytest.mark.parametrize(
    ("count", "percentile", "k"),
    [(100, 95, 5), (10, 95, 1), (1000, 99.9, 1), (60, 95, 3), (7, 100, 1)],
)
def test_the_rank_is_exact_in_decimals(count, percentile, k):
    assert rank(count, percentile) == k


@given(st.integers(1, 300), st.sampled_from([50, 95, 99.5, 100]), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_alpha_is_the_kth_largest_magnitude(count, percentile, seed):
    x = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    ordered = sorted(x.abs().tolist(), reverse=True)
    assert float(alpha(x, percentile)) == ordered[rank(count, percentile) - 1]


def test_integers_are_float32_products_rounded_half_to_even():
    x = torch.tensor([[1.0, -3.0, 5.0, 100.0]])
    done = quantize(x, 50, 5)
    assert done.scale.dtype == torch.float32
    expected = np.rint(x.numpy() * np.float32(5 / (2 * 5.0)))
    assert done.values.tolist() == expected.astype(int).tolist() == [[0, -2, 2, 50]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_strides_do_not_matter(dtype):
    x = torch.randn(8, 6).to(dtype)
    assert torch.equal(quantize(x.t(), 95, 15).values, quantize(x.float(), 95, 15).values.t())


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 0, 3)])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_empty_and_zero_tensors_have_scale_one(shape, granularity):
    done = quantize(torch.zeros(shape), 95, 15, granularity)
    assert done.values.shape == torch.Size(shape)
    assert bool((done.scale == 1).all())


def test_row_granularity_gives_each_row_its_own_scale():
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0], [0.0, 0.0]])
    assert quantize(x, 100, 4, "row").values.tolist() == [[1, 2], [1, 2], [0, 0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_name_the_tensor_and_the_index(bad):
    x = torch.ones(3, 4)
    x[1, 2] = bad
    with pytest.raises(DataError, match=r"net/a: found .* at \[1, 2\]"):
        quantize(x, 95, 15, name="net/a")


def test_a_zero_percentile_is_an_error_or_taken_over_the_nonzero_entries():
    x = torch.zeros(1, 100)
    x[0, 0] = 3.0
    with pytest.raises(DataError, match="zero_alpha: nonzero"):
        quantize(x, 95, 8)
    assert int(quantize(x, 95, 8, zero_alpha="nonzero").values[0, 0]) == 4


def test_a_scale_that_float32_cannot_hold_is_undefined():
    with pytest.raises(DataError, match="scale is undefined"):
        quantize(torch.full((2, 2), 1e-45), 95, 15)


def test_integers_must_stay_below_two_to_the_31():
    x = torch.ones(1, 1000)
    x[0, 0] = 1e9
    with pytest.raises(DataError, match="not below 2\\^31"):
        quantize(x, 95, 255)


def test_integer_operands_are_refused():
    with pytest.raises(DataError, match="expected float32"):
        quantize(torch.ones(2, 2, dtype=torch.int32), 95, 15)
