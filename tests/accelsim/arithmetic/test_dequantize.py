"""Quotients of exact integers by scales, rounded once, against fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accelsim.arithmetic import dequantize as module
from accelsim.arithmetic.dequantize import dequantize
from accelsim.types import PerOperand

FORMATS = {
    torch.float32: (24, -149, 128),
    torch.bfloat16: (8, -133, 128),
    torch.float16: (11, -24, 16),
}
DTYPES = list(FORMATS)


def nearest(value, dtype):
    """Round a fraction to nearest, ties to even, step by step."""
    digits, lowest, limit = FORMATS[dtype]
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = lowest
    while magnitude / Fraction(2) ** exponent >= 2**digits:
        exponent += 1
    found = round(magnitude / Fraction(2) ** exponent) * Fraction(2) ** exponent
    found = float("inf") if found >= Fraction(2) ** limit else float(found)
    return found if value > 0 else -found


def scalar(value):
    return torch.tensor(value, dtype=torch.float32)


def check(integers, scale_a, scale_b, dtype, exponents=(0, 0)):
    """Compare one row of quotients with fractions, from every type that holds the integers."""
    scales = PerOperand(scalar(scale_a), scalar(scale_b))
    scale = Fraction(float(scales.a)) * Fraction(float(scales.b)) * Fraction(2) ** sum(exponents)
    expected = [nearest(c / scale, dtype) for c in integers]
    products = [np.array([integers], dtype=object)]
    if max(map(abs, integers)) < 2**63:
        products.append(torch.tensor([integers]))
    if max(map(abs, integers)) <= 2**53:
        products.append(torch.tensor([integers]).double())
    if max(map(abs, integers)) <= 2**24:
        products += [torch.tensor([integers]).float(), torch.tensor([integers]).int()]
    for product in products:
        found = dequantize(product, scales, dtype, PerOperand(*exponents))
        assert found.dtype == dtype
        assert found[0].double().tolist() == expected, (product, expected)


FLOATS = st.floats(2.0**-60, 2.0**60, width=32)


@given(
    st.lists(
        st.integers(-(2**62), 2**62) | st.integers(-999, 999) | st.integers(-(2**130), 2**130),
        min_size=1,
        max_size=4,
    ),
    FLOATS | st.sampled_from([1.0, 0.5, 7.0, 3.0]),
    FLOATS | st.sampled_from([1.0, 2.0, 7.0, 10.0]),
    st.sampled_from(DTYPES),
    st.sampled_from([(0, 0), (20, 0), (-3, 60)]),
)
@settings(max_examples=300, deadline=None)
def test_it_is_the_fraction_rounded_once(integers, scale_a, scale_b, dtype, exponents):
    check(integers, scale_a, scale_b, dtype, exponents)


@given(
    st.integers(1, 2**25 - 1),
    st.integers(2**23, 2**24 - 1),
    st.integers(2**23, 2**24 - 1),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from([0, 1, 2, 8, 20, 60]),
    st.sampled_from(DTYPES),
)
@settings(max_examples=300, deadline=None)
def test_integers_on_ties_and_one_beside_them(point, a, b, beside, shift, dtype):
    # `point` has one bit more than float32: with one trailing 1 it is a tie of some format.
    integer = (point * a * b << shift) + beside
    check([integer, -integer], float(a), float(b), dtype, (shift, 0))
    small = point * (a % 256 | 1) + beside
    check([small], float(a % 256 | 1), 1.0, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("integer", [2**24, 2**53, 2**63 - 2, 2**63, 3 * 2**61, 2**64])
def test_integers_at_the_limits_of_types(integer, beside, dtype):
    for scale in (1.0, 3.0, 2.0**-20, 0.1):
        check([integer + beside, -integer - beside], scale, 1.0, dtype)


def test_odd_integers_just_above_two_to_the_53_beside_ties():
    scale = 6156 * 87211
    for point in (2**24 + 1, 2**24 + 3):
        integers = [point * scale + side for side in (-1, 0, 1)]
        assert all(2**53 < integer < 2**54 for integer in integers)
        check(integers, 6156.0, 87211.0, torch.float32)


def test_quotients_that_float64_gives_one_unit_beside_a_tie(monkeypatch):
    integers = [4614567645459868172, 4614982271469333224, 4619018129817771602, 4616634443237460566]
    check(integers, 16401.0, 8393271.0, torch.float32)
    monkeypatch.setattr(module.on_cpu, "CLOSE", 0)
    with pytest.raises(AssertionError):
        check(integers, 16401.0, 8393271.0, torch.float32)


def test_lines_that_are_divided_again_have_the_scales_of_their_own_head():
    tie = 4614567645459868172
    product = torch.tensor([[[7]], [[tie]]])
    scales = torch.tensor([[[1.0]], [[16401.0]]]), torch.tensor([[[1.0]], [[8393271.0]]])
    alone = PerOperand(torch.tensor(16401.0), torch.tensor(8393271.0))
    found = dequantize(product, PerOperand(*scales), torch.float32)
    right = dequantize(product[1:], alone, torch.float32)
    assert found.flatten().tolist() == [7.0, right.item()]


def test_lines_wider_than_a_piece_are_divided_again_one_by_one(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    integers = [4614567645459868172, 4614982271469333224, 4619018129817771602, 4616634443237460566]
    scales = torch.tensor(16401.0), torch.tensor(8393271.0)
    found = dequantize(torch.tensor([integers] * 3), PerOperand(*scales), torch.float32)
    expected = dequantize(torch.tensor([integers[:1]]), PerOperand(*scales), torch.float32)
    assert torch.equal(found[:, :1], expected.expand(3, 1))
    check(integers, 16401.0, 8393271.0, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_and_huge_results(dtype):
    digits, lowest, limit = FORMATS[dtype]
    # Half of the smallest number, and the point halfway from the largest to infinity.
    half, huge = 3 - lowest + 1, limit - digits - 1
    for integer in (7, 8, 9, 23, 24, 25):
        check([integer, -integer], 2.0 ** (half // 2), 2.0 ** (half - half // 2), dtype)
    for integer in (2 ** (digits + 1) - 2, 2 ** (digits + 1) - 1, 2 ** (digits + 1)):
        check([integer, -integer], 1.0, 1.0, dtype, (0, -huge))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("chunk", [module.CHUNK, 20])
@pytest.mark.parametrize("by_rows", [(True, True), (True, False), (False, True), (False, False)])
def test_a_scale_for_each_row(monkeypatch, by_rows, batch, chunk, dtype):
    monkeypatch.setattr(module, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(1)
    product = torch.randint(-(2**40), 2**40, (*batch, 5, 7), generator=generator)
    product[..., 0, :] = 0
    sides = []
    for rows, own in ((5, by_rows[0]), (7, by_rows[1])):
        scale = torch.rand((*batch, rows, 1), generator=generator) + 0.01
        sides.append(scale if own else scale.flatten()[0])
    found = dequantize(product, PerOperand(*sides), dtype)
    wide = dequantize(product.numpy().astype(object), PerOperand(*sides), dtype)
    assert torch.equal(found, wide)
    for place in np.ndindex(*product.shape):
        own = [
            Fraction(float(scale[*place[:-2], at, 0] if scale.ndim else scale))
            for scale, at in zip(sides, place[-2:], strict=True)
        ]
        expected = nearest(Fraction(int(product[place])) / (own[0] * own[1]), dtype)
        assert float(found[place]) == expected


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)])
def test_empty_products(shape):
    scales = PerOperand(scalar(2.0), scalar(3.0))
    assert dequantize(torch.zeros(shape, dtype=torch.int64), scales, torch.float16).shape == shape


def test_a_remainder_that_is_not_looked_at_is_noticed(monkeypatch):
    # Beside a tie, of whose neighbours one is even, float64's quotient is the tie itself.
    point, scale = 2**24 + 1, 2**24 - 1
    integers = [(at * scale * scale << 10) + side for at in (point, point + 2) for side in (-1, 1)]
    check(integers, float(scale), float(scale), torch.float32, (10, 0))
    monkeypatch.setattr(module, "_is_doubtful", lambda quotients: quotients.isnan())
    with pytest.raises(AssertionError):
        check(integers, float(scale), float(scale), torch.float32, (10, 0))


def to_odd(value):
    """Round a fraction to 53 bits: towards zero, and then to an odd last bit if it is inexact."""
    exponent = 0
    while abs(value) / Fraction(2) ** exponent >= 2**53:
        exponent += 1
    while abs(value) / Fraction(2) ** exponent < 2**52:
        exponent -= 1
    whole, rest = divmod(abs(value) / Fraction(2) ** exponent, 1)
    found = (int(whole) | (rest != 0)) * Fraction(2) ** exponent
    return found if value > 0 else -found


DIVISORS = st.tuples(st.integers(1, 2**24 - 1), st.integers(2**23, 2**24 - 1)).map(
    lambda ab: float(ab[0] * ab[1])
)


@given(st.integers(1, 2**63 - 1), st.sampled_from([1, -1]), DIVISORS, st.integers(-20, 20))
@example(2**53 + 1, 1, 1.0, 0)
@example(2**53 + 1, -1, 1.0, 0)
@settings(max_examples=200)
def test_doubtful_quotients_are_rounded_to_odd(integer, sign, divisor, power):
    integer, divisor = sign * integer, divisor * 2.0**power
    exact = to_odd(integer / Fraction(divisor))
    divisors = torch.tensor([divisor], dtype=torch.float64)
    kinds = [torch.tensor([integer])]
    if abs(integer) < 2**24:
        kinds += [kinds[0].float(), kinds[0].int()]
    for kind in kinds:
        assert Fraction(float(module._rounded_to_odd(kind, divisors))) == exact
    assert Fraction(module._exact_to_odd(integer, divisor)) == exact


@given(st.floats(2.0**-200, 2.0**200))
def test_halves_have_26_bits(value):
    high, low = (float(x) for x in module._halves(torch.tensor(value, dtype=torch.float64)))
    assert Fraction(high) + Fraction(low) == Fraction(value)
    for half in (high, low):
        numerator = abs(Fraction(half).numerator)
        assert numerator.bit_length() - (numerator & -numerator).bit_length() < 26


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((4, 5), [20]),
        ((3, 7), [14, 7]),
        ((2, 3, 7), [14, 7, 14, 7]),
        ((3, 20), [20, 20, 20]),
        ((2, 30), [30, 30]),
    ],
)
def test_pieces_fit_the_cache_and_cover_all(shape, sizes, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 20)
    seen = torch.zeros(shape)
    places = list(module._pieces(shape, torch.device("cpu")))
    for place in places:
        seen[place] += 1
    assert bool((seen == 1).all())
    assert [seen[place].numel() for place in places] == sizes
    assert len(list(module._pieces(shape, torch.device("cuda")))) == 1
