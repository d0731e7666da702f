from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.magnitudes import Search
from accelsim.arithmetic.rounding import Quantized, alpha, begin_quantizing, quantize, rank
from accelsim.arithmetic.scales import in_float32
from accelsim.errors import DataError, InputError


@pytest.mark.parametrize(
    ("count", "percentile", "k"),
    [
        (100, 95, 5),
        (10, 95, 1),
        (1000, 99.9, 1),
        (2000, 99.9, 2),
        (60, 95, 3),
        (7, 100, 1),
        # In binary these fall short of the whole number, or exceed it.
        (1000, 99.7, 3),
        (10**9, 99.999, 10**4),
        (3 * 10**5, 94.9, 15300),
        (59, 95, 2),
    ],
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


@pytest.mark.parametrize("magnitude", [2.0**-149, 1e-44, 1e-39, 1.2e-38, 4.4e-38, 1e-37, 3e38])
@pytest.mark.parametrize("beta", [0.5, 5, 31, 16383])
def test_scales_beyond_float32_go_with_a_power_of_two(magnitude, beta):
    x = torch.tensor([[1.0, -0.5, 0.25, 0.9, 0.7], [0.01, 0, -1e-9, 0.3, 1]]) * magnitude
    done = quantize(x, 60, beta)
    alpha = sorted(abs(v) for row in x.tolist() for v in row)[-4]
    exact = Fraction(beta) / (2 * Fraction(alpha))
    assert Fraction(float(done.scale)) * Fraction(2) ** done.scale_exponent == rounded(exact)
    scale = Fraction(float(done.scale)) * Fraction(2) ** done.scale_exponent
    expected = [[round(rounded(Fraction(v) * scale)) for v in row] for row in x.tolist()]
    assert done.values.tolist() == expected
    assert done.largest == max(abs(v) for row in expected for v in row)
    assert (done.scale_exponent == 0) == (2.0**-126 <= exact < 2.0**125)


def rounded(value, bits=24):
    """Round a positive fraction to float32 without limits to its exponent but the lowest one."""
    if not value:
        return Fraction(0)
    sign, value = (-1 if value < 0 else 1), abs(value)
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits
    while value / Fraction(2) ** exponent >= 2**bits:
        exponent += 1
    exponent = max(exponent, -149)
    return sign * round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    st.lists(FINITE | st.floats(-1, 1, width=32), min_size=1, max_size=9),
    st.sampled_from([15.0, 31.0, 16383.0, 0.3]),
    st.sampled_from([50, 90, 100]),
)
@settings(max_examples=300, deadline=None)
def test_any_finite_operand_is_what_fractions_give(values, beta, percentile):
    x = torch.tensor([values], dtype=torch.float32)
    exact = [Fraction(v) for v in x[0].tolist()]
    ordered = sorted(map(abs, exact), reverse=True)
    alpha = ordered[rank(len(values), percentile) - 1]
    if ordered[0] and not alpha:
        with pytest.raises(DataError, match="scale is undefined"):
            quantize(x, percentile, beta)
        return
    scale = rounded(Fraction(beta) / (2 * alpha)) if alpha else Fraction(1)
    expected = [round(rounded(v * scale)) for v in exact]
    if max(map(abs, expected)) >= 2**62:
        with pytest.raises(DataError, match="not below 2"):
            quantize(x, percentile, beta)
        return
    done = quantize(x, percentile, beta)
    assert done.values.tolist() == [expected]
    assert done.largest == max(map(abs, expected))
    assert Fraction(float(done.scale)) * Fraction(2) ** done.scale_exponent == scale


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("off", [None, 0, -1])
def test_a_scale_that_a_device_worked_out_holds_only_if_the_host_finds_the_same(
    monkeypatch, granularity, off
):
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(3))
    right = quantize(x, 95, 31, granularity)
    found = np.empty((3, right.scale.numel()), np.float32)
    found[0] = alpha(x.reshape(found.shape[1], -1), 95)
    found[1] = x.abs().reshape(found.shape[1], -1).amax(dim=1)
    found[2] = right.scale.flatten()
    if off is not None:
        found[2, off] = np.nextafter(found[2, off], np.float32(0))
    search = Search(lambda: found, torch.from_numpy(found[2]))
    monkeypatch.setattr("accelsim.arithmetic.rounding.begin_search", lambda *_: search)
    begun = begin_quantizing(x, 95, 31, granularity)
    assert begun.scale.shape == right.scale.shape
    quantized = begun.finish()
    assert (quantized.scale is begun.scale) == (off is None)
    assert torch.equal(quantized.scale, right.scale)
    assert torch.equal(quantized.values, right.values)


def test_rows_share_one_power_of_two_or_are_refused():
    x = torch.tensor([[1e-44, 2e-44], [1.0, 3.0], [0, 0]])
    done = quantize(x, 100, 31, "row")
    alone = [quantize(row[None], 100, 31).values[0].tolist() for row in x]
    assert done.values.tolist() == alone
    assert done.scale_exponent > 0
    assert done.scale[2] == 1
    with pytest.raises(DataError, match="one scale per tensor"):
        quantize(torch.tensor([[1e-44], [1e35]]), 100, 31, "row")
    # The smaller row asks for 2^26, times which the other is just below float32's end, or on it.
    below = torch.tensor([[1e-44], [2.0**102 * (1 - 2.0**-24)]])
    alone = [quantize(row[None], 100, 31).values[0].tolist() for row in below]
    assert quantize(below, 100, 31, "row").values.tolist() == alone
    with pytest.raises(DataError, match="one scale per tensor"):
        quantize(torch.tensor([[1e-44], [2.0**102]]), 100, 31, "row")


def test_a_row_of_zeros_but_one_is_an_error_or_taken_over_its_nonzero_entries():
    x = torch.zeros(3, 100)
    x[0] = torch.arange(1, 101)
    x[1, 7] = 3.0
    x[1, 8] = 1.0
    with pytest.raises(DataError, match="zero_alpha: nonzero"):
        quantize(x, 95, 8, "row")
    done = quantize(x, 95, 8, "row", zero_alpha="nonzero")
    assert done.values[1, 7:9].tolist() == [4, 1]
    assert float(done.scale[0]) == np.float32(8 / (2 * 96.0))
    assert float(done.scale[2]) == 1


def at_limit(top):
    """Return an operand whose integers are its entries, the largest of them `top`."""
    return quantize(torch.tensor([[float(top), 1.0, -float(top), 0.0]]), 50, 2.0 * top)


BELOW_2_62 = 2**62 - 2**38


@pytest.mark.parametrize(
    ("top", "dtype"),
    [
        (2**31 - 2**7, torch.int32),
        (2**31, torch.int64),
        (2**53 + 2**30, torch.int64),
        (BELOW_2_62, torch.int64),
    ],
)
def test_integers_up_to_two_to_the_62(top, dtype):
    done = at_limit(top)
    assert float(done.scale) == 1
    assert done.values.tolist() == [[top, 1, -top, 0]]
    assert (done.largest, done.values.dtype) == (top, dtype)


def test_integers_from_two_to_the_62_on_are_refused():
    with pytest.raises(
        DataError, match=r"becomes 4611686018427387904, which is not below 2\^62; cho"
    ):
        at_limit(2**62)
    with pytest.raises(DataError, match="or a higher percentile"):
        quantize(torch.tensor([[1e30, 1e-30, 1e-30, 1e-30]]), 50, 31)
    with pytest.raises(DataError) as caught:
        quantize(torch.tensor([[1e30]]), 100, 2.0**64)
    assert "percentile" not in str(caught.value)


@pytest.mark.parametrize("beta", [0, -3, float("inf"), float("nan")])
def test_a_beta_that_is_not_a_positive_number_is_refused(beta):
    with pytest.raises(InputError, match="beta"):
        quantize(torch.ones(2, 2), 95, beta)


def test_an_unknown_granularity_is_refused():
    with pytest.raises(InputError, match="did you mean 'row'"):
        quantize(torch.ones(2, 2), 95, 15, "rows")


def test_integer_operands_are_refused():
    with pytest.raises(DataError, match="expected float32"):
        quantize(torch.ones(2, 2, dtype=torch.int32), 95, 15)


def test_the_float32_product_decides_next_to_two_to_the_62():
    """In exact arithmetic it would be beyond; the scale and the product are both rounded down."""
    peak, ideal = 3132635071371018240.0, 1.472142755973339
    assert peak * ideal > 2**62
    x = torch.tensor([[peak, 1.0, 1.0, 1.0]])
    product = np.float32(peak) * np.float32(ideal)
    done = quantize(x, 50, 2 * ideal)
    assert (done.largest, done.values[0, 0].item()) == (int(product), int(product))
    assert int(product) < 2**62


def test_operands_without_values_are_refused():
    with pytest.raises(DataError, match="net/a: lies on the device 'meta', which has no values"):
        quantize(torch.ones(2, 2, device="meta"), 95, 15, name="net/a")


@pytest.mark.parametrize(
    ("ideal", "exponent", "value"),
    [
        (2.0**-126, 0, 2.0**-126),
        (1.5 * 2.0**-127, -1, 1.5 * 2.0**-126),
        (2.0**-127, -1, 2.0**-126),
        (2.0**-127 + 2.0**-150, -1, 2.0**-126),
        (2.0**-127 + 3 * 2.0**-150, -1, 2.0**-126 + 2.0**-147),
        (2.0**-149, -23, 2.0**-126),
        (1.5 * 2.0**124, 0, 1.5 * 2.0**124),
        (2.0**125, 1, 2.0**124),
        (2.0**140, 16, 2.0**124),
    ],
)
def test_a_power_of_two_goes_with_scales_just_beyond_normal_numbers(ideal, exponent, value):
    scales = in_float32(np.array([ideal]), np.array([1e-9]), "x")
    assert (scales.exponent, scales.values.tolist()) == (exponent, [value])


def test_an_operand_that_was_kept_is_as_it_was_rounded():
    """Whatever the default type of tensors is."""
    x = torch.randn(5, 8)
    rounded = quantize(x, 95, 15)
    torch.set_default_dtype(torch.float64)
    try:
        kept = Quantized.restored(rounded.rounded, rounded.scale, rounded.largest)
    finally:
        torch.set_default_dtype(torch.float32)
    assert kept.scale_exponent == 0
    assert torch.equal(kept.values, rounded.values)
    assert kept.scale.dtype == kept.rounded.dtype == kept.divisor.dtype == torch.float32
    assert float(kept.scale) == 1
    assert kept.divisor is rounded.scale


@pytest.mark.parametrize(
    ("dtype", "hint"), [(torch.float64, "; convert it with .float()"), (torch.int32, "")]
)
def test_other_types_are_refused_with_the_way_out(dtype, hint):
    expected = f"mine: found {dtype}; expected float32, float16 or bfloat16{hint}"
    with pytest.raises(DataError) as caught:
        quantize(torch.ones(2, 3, dtype=dtype), 95, 15, name="mine")
    assert str(caught.value) == expected
