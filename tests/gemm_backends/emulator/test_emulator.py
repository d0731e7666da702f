"""The emulator against an accumulator in plain Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepwise import stepwise

from accelsim.errors import InputError
from gemm_backends import AccumulatorOverflow, GemmSpec, OverflowReport, load_backend
from gemm_backends.cpu.exact import exact_product


def matrix(rows, bits):
    return torch.tensor(rows, dtype=torch.int8 if bits <= 8 else torch.int16)


@st.composite
def gemms(draw):
    bits = draw(st.tuples(st.integers(2, 16), st.integers(2, 16)))
    n, h = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    d = draw(st.integers(1, 24))
    operands = []
    for rows, width in zip((n, h), bits, strict=True):
        limit = 2 ** (width - 1)
        digit = st.integers(-limit, limit - 1) | st.sampled_from([-limit, limit - 1])
        row = st.lists(digit, min_size=d, max_size=d)
        operands.append(draw(st.lists(row, min_size=rows, max_size=rows)))
    return bits, *operands


@settings(max_examples=150, deadline=None)
@given(gemms(), st.integers(8, 40), st.sampled_from(["wrap", "saturate", "error"]))
def test_every_step_is_what_plain_python_says(gemm, width, overflow):
    bits, a, b = gemm
    product, count, first = stepwise(a, b, width, overflow)
    emulator = load_backend("emulator", bits=bits, accumulator_bits=width, overflow=overflow)
    operands = matrix(a, max(bits)), matrix(b, max(bits))
    if overflow == "error" and count:
        for call in (emulator.multiply, emulator.multiply_report):
            with pytest.raises(AccumulatorOverflow) as caught:
                call(*operands)
            assert caught.value.report == OverflowReport(count, first)
        return
    result, report = emulator.multiply_report(*operands)
    assert result.tolist() == product
    assert report == OverflowReport(count, first)
    assert emulator.multiply(*operands).tolist() == product


def swing(up, down):
    """One row pair whose sum climbs for `up` steps of 49 and then falls for `down`."""
    return matrix([[7] * (up + down)], 4), matrix([[7] * up + [-7] * down], 4)


def test_saturation_is_per_step_not_of_the_final_sum():
    emulator = load_backend("emulator", bits=4, accumulator_bits=12, overflow="saturate")
    product, report = emulator.multiply_report(*swing(120, 80))
    assert product.item() == 2047 - 80 * 49
    assert report == OverflowReport(120 - 2047 // 49, (0, 0, 2047 // 49))


def test_wrapping_is_modulo_the_width_whatever_the_order():
    emulator = load_backend("emulator", bits=4, accumulator_bits=12)
    product, report = emulator.multiply_report(*swing(120, 80))
    assert product.item() == 120 * 49 - 80 * 49
    assert report.count == 2
    assert emulator.multiply(*swing(120, 0)).item() == 120 * 49 - 4096


@pytest.mark.parametrize("overflow", ["wrap", "saturate", "error"])
@pytest.mark.parametrize(("bits", "width"), [(8, 17), (16, 31), (16, 33), (16, 64)])
def test_just_under_the_bound_nothing_overflows(overflow, bits, width):
    limit = 2 ** (bits - 1)
    d = min((2 ** (width - 1) - 1) // limit**2, 4096)
    emulator = load_backend("emulator", bits=bits, accumulator_bits=width, overflow=overflow)
    lowest = matrix([[-limit] * d] * 2, bits)
    product, report = emulator.multiply_report(lowest, lowest)
    assert (product == d * limit**2).all()
    assert report == OverflowReport(0)


def test_a_bound_that_is_only_loose_raises_no_overflow():
    """The largest digits never meet, so the product fits though the bound says it might not."""
    a, b = torch.zeros(2, 2, 64, dtype=torch.int8)
    a[:, :8], b[:, 8:16] = 127, 127
    a[0, 63] = b[0, 63] = 1
    emulator = load_backend("emulator", bits=8, accumulator_bits=9, overflow="error")
    assert emulator.multiply(a, b).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_larger_products_agree_with_the_steps(overflow):
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(-128, 128, (9, 700), generator=generator).to(torch.int8)
    b = torch.randint(-128, 128, (5, 700), generator=generator).to(torch.int8)
    product, count, first = stepwise(a.tolist(), b.tolist(), 18, overflow)
    emulator = load_backend("emulator", bits=8, accumulator_bits=18, overflow=overflow)
    assert count > 0
    result, report = emulator.multiply_report(a, b)
    assert result.tolist() == product
    assert report == OverflowReport(count, first)


def test_batches():
    generator = torch.Generator().manual_seed(2)
    a = torch.randint(-8, 8, (2, 3, 4, 50), generator=generator).to(torch.int8)
    b = torch.randint(-8, 8, (2, 3, 5, 50), generator=generator).to(torch.int8)
    a[0] = 0
    emulator = load_backend("emulator", bits=4, accumulator_bits=8, overflow="saturate")
    result, report = emulator.multiply_report(a, b)
    assert torch.equal(emulator.matmul(a, b), result)
    single = [emulator.multiply_report(x, y) for x, y in zip(a[1], b[1], strict=True)]
    assert torch.equal(result[1], torch.stack([product for product, _ in single]))
    assert not result[0].any()
    assert report.count == sum(r.count for _, r in single) > 0
    assert report.first == (1, 0, *single[0][1].first)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("batch", [(), (0,), (2,)])
@pytest.mark.parametrize("overflow", ["wrap", "saturate", "error"])
def test_empty_products(shape, batch, overflow):
    n, d, h = shape
    emulator = load_backend("emulator", overflow=overflow)
    a = torch.zeros(*batch, n, d, dtype=torch.int8)
    b = torch.zeros(*batch, h, d, dtype=torch.int8)
    product, report = emulator.multiply_report(a, b)
    assert product.shape == (*batch, n, h)
    assert not product.any()
    assert report == OverflowReport(0)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize(("operand", "digit"), [("A", -9), ("A", 8), ("B", 32), ("B", -33)])
def test_digits_outside_the_multiplier_are_refused(overflow, operand, digit):
    emulator = load_backend("emulator", bits=(4, 6), overflow=overflow)
    operands = {"A": matrix([[0, 0]], 8), "B": matrix([[0, 0]], 8)}
    operands[operand][0, 1] = digit
    for call in (emulator.multiply, emulator.multiply_report):
        with pytest.raises(InputError, match=f"{operand} holds digits from .* outside the"):
            call(operands["A"], operands["B"])


def test_without_bits_a_built_in_table_is_made_for_what_is_asked_for():
    emulator = load_backend("emulator", multiplier="truncated:2")
    four = emulator.for_bits(4, 5)
    assert four.options["bits"] == (4, 5)
    assert not emulator.for_bits(9, 8).supports(GemmSpec(9, 8, 1, 1, 1))


def test_without_bits_it_becomes_what_is_asked_for():
    emulator = load_backend("emulator", accumulator_bits=24)
    assert emulator.supports(GemmSpec(16, 16, 1, 1, 1))
    four = emulator.for_bits(4, 4)
    assert four.options == {**emulator.options, "bits": 4}
    assert four.accumulator == emulator.accumulator
    assert not four.supports(GemmSpec(5, 4, 1, 1, 1))
    assert emulator.for_bits(8, 4).operand_bits == (8, 4)
    assert four.for_bits(8, 8) is four


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "bits must be from 2 to 16"),
        ({"bits": 17}, "bits must be from 2 to 16"),
        ({"bits": [4, 17]}, "bits must be from 2 to 16"),
        ({"bits": [4]}, "bits must be from 2 to 16"),
        ({"bits": "four"}, "option 'bits' of backend 'emulator' should be a valid integer"),
        ({"accumulator_bits": 7}, "accumulator_bits must be from 8 to 64, got 7"),
        ({"accumulator_bits": 65}, "accumulator_bits must be from 8 to 64, got 65"),
        ({"overflow": "clip"}, "should be 'wrap', 'saturate' or 'error', got 'clip'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        load_backend("emulator", **options)


@pytest.mark.parametrize(
    ("bits", "d"),
    [(2, 300), (8, 1024), (8, 1025), (8, 5000), (12, 3), (16, 700)],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_exact_product_of_extremes(bits, d, precision):
    """Also where torch may round float32 operands: float64 is used then."""
    limit = 2 ** (bits - 1)
    a = torch.full((3, d), -limit, dtype=torch.int16)
    a[1] = limit - 1
    a[2, ::2] = limit - 1
    previous = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        product = exact_product(a, a)
    finally:
        torch.set_float32_matmul_precision(previous)
    rows = a.tolist()
    assert product.tolist() == [
        [sum(p * q for p, q in zip(x, y, strict=True)) for y in rows] for x in rows
    ]


def test_exact_product_beyond_float64():
    """2^24 products of 2^30 add up to more than 2^53: K is cut into slices."""
    a = torch.full((1, (1 << 24) - 1), -32768, dtype=torch.int16)
    assert exact_product(a, a).item() == ((1 << 24) - 1) << 30
