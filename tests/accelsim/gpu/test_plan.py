"""What of the GPU pipeline needs no GPU: its plan, and rounding once."""

from fractions import Fraction

import pytest
import torch

from accelsim.arithmetic.dequantize import round_once
from accelsim.errors import DataError
from gemm_backends.cuda.fused.plan import high_parts, make_plan


def test_high_parts_are_what_the_low_digit_leaves():
    values = torch.tensor([0, 127, 128, -128, -129, 383, 384, -(2**31) + 129, 2**31 - 129])
    values = values.to(torch.int32)
    low = values - 256 * high_parts(values)
    assert low.min() >= -128
    assert low.max() <= 127


def operands(n=256, d=512, h=192):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randint(-100, 101, (rows, d), generator=generator, dtype=torch.int32)
        for rows in (n, h)
    )


def planned(a, b):
    plan = make_plan(a, b, prepared=True)
    return plan.slot_tiles, (plan.a.groups, plan.a.place_tiles), (plan.b.groups, plan.b.place_tiles)


def test_nothing_out_of_bound_needs_nothing():
    assert planned(*operands()) == (0, (0, 0), (0, 0))


def test_heavy_columns_get_slots():
    a, b = operands()
    a[:, [3, 90]] *= 50
    assert planned(a, b) == (1, (1, 0), (0, 0))
    a[5, 3] = 1 << 20
    assert planned(a, b) == (1, (2, 0), (0, 0))


def test_scattered_entries_get_places():
    a, b = operands()
    a[torch.arange(256), torch.arange(256)] = 1000
    assert planned(a, b) == (0, (1, 3), (0, 0))
    a, b = operands()
    b[7, 7] = -1000
    a[:, 3] = 500
    assert planned(a, b) == (1, (1, 0), (1, 1))


def test_columns_in_which_many_high_parts_meet_get_slots():
    a, b = operands()
    a[:3, 5] = 500
    b[:, 5] = 900
    plan = make_plan(a, b, prepared=True)
    assert (plan.slot_tiles, plan.cross_length) == (1, 0)
    b[2:, 5] = 0
    plan = make_plan(a, b, prepared=True)
    assert (plan.slot_tiles, plan.cross_length) == (0, 16)


def test_many_heavy_columns_are_looked_for_ahead_and_not_listed():
    a, b = operands(n=1024, d=1024)
    a[:, ::3] *= 300
    plan = make_plan(a, b, prepared=True)
    assert plan.surveyed
    assert plan.a.list_length == 16
    swapped = make_plan(b, a, prepared=True)
    assert not swapped.surveyed
    assert swapped.b.list_length >= 1024 // 3
    dynamic = make_plan(b, a, prepared=False)
    assert dynamic.surveyed
    assert dynamic.b.list_length == 16


def test_more_than_three_digits_are_refused():
    a, b = operands()
    a[3, 3] = 1 << 24
    with pytest.raises(DataError, match="an entry of A reaches 16777216"):
        make_plan(a, b, prepared=True)


def test_rows_full_of_large_entries_are_refused():
    a, b = operands(d=4096)
    with pytest.raises(DataError, match="a row of B has 4"):
        make_plan(a, b * 300, prepared=True)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_rounding_once_against_fractions(dtype, bits):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(2000, generator=generator, dtype=torch.float64)
    middles = (1 + torch.randint(0, 2 ** (bits - 1), (500,), generator=generator)) * 2 + 1
    middles = middles.to(torch.float64) / 2**bits
    nudges = torch.tensor([0.0, 2.0**-40, -(2.0**-40), 2.0**-30, -(2.0**-30)], dtype=torch.float64)
    values = torch.cat([values, (middles[:, None] + nudges).flatten(), -middles])
    rounded = round_once(values, dtype)
    for x, y in zip(values.tolist(), rounded.tolist(), strict=True):
        exact, got = Fraction(x), Fraction(y)
        neighbours = [
            Fraction(
                float(torch.nextafter(torch.tensor(y, dtype=dtype), torch.tensor(t, dtype=dtype)))
            )
            for t in (torch.inf, -torch.inf)
        ]
        assert all(abs(got - exact) <= abs(other - exact) for other in neighbours)
