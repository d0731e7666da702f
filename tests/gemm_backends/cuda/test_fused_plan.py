"""What of the fused route needs no GPU: its plans, and rounding once."""

from fractions import Fraction

import pytest
import torch
from quotient import rounded_quotient

from accelsim.arithmetic.dequantize import round_once
from accelsim.types import PerOperand
from gemm_backends.cuda.fused.memory import CALM, PlanMemory
from gemm_backends.cuda.fused.plan import (
    LONGEST_LIST,
    Columns,
    Dense,
    Side,
    high_parts,
    plan_columns,
)
from gemm_backends.cuda.fused.planner import next_plan
from gemm_backends.cuda.fused.sides import Floats
from gemm_backends.cuda.fused.status import NO_PROOF, Report

FIXED, NEW = PerOperand(False, True), PerOperand(False, False)


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
    plan = plan_columns(a, b, FIXED)
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
    plan = plan_columns(a, b, FIXED)
    assert (plan.slot_tiles, plan.cross_length) == (1, 0)
    b[2:, 5] = 0
    plan = plan_columns(a, b, FIXED)
    assert (plan.slot_tiles, plan.cross_length) == (0, 16)


def test_many_heavy_columns_are_looked_for_ahead_and_not_listed():
    a, b = operands(n=1024, d=1024)
    a[:, ::3] *= 300
    plan = plan_columns(a, b, FIXED)
    assert plan.surveyed
    assert plan.a.list_length == 16
    swapped = plan_columns(b, a, FIXED)
    assert not swapped.surveyed
    assert swapped.b.list_length >= 1024 // 3
    dynamic = plan_columns(b, a, NEW)
    assert dynamic.surveyed
    assert dynamic.b.list_length == 16


def test_no_columns_for_more_than_three_digits():
    a, b = operands()
    a[3, 3] = 1 << 24
    assert plan_columns(a, b, FIXED) is None


def test_no_columns_for_rows_full_of_large_entries():
    a, b = operands(d=4096)
    assert plan_columns(a, b * 300, FIXED) is None


def test_products_of_two_high_parts_have_lists_wherever_both_operands_have_places():
    """Also where this sample has no such product: other values of the same plan may."""
    a, b = operands()
    a[torch.arange(0, 100), torch.arange(0, 100)] = 1000
    b[torch.arange(0, 100), torch.arange(100, 200)] = 1000
    plan = plan_columns(a, b, FIXED)
    assert plan.a.place_tiles > 0
    assert plan.b.place_tiles > 0
    assert plan.cross_length >= 16


def test_slack_leaves_more_room_for_what_is_new():
    a, b = operands(n=1024)
    a[torch.arange(1024), torch.arange(1024) % 512] = 1000
    usual, more = (plan_columns(a, b, FIXED, slack) for slack in (1, 4))
    assert more.a.list_length >= usual.a.list_length
    assert more.a.place_tiles >= usual.a.place_tiles
    assert more.b == usual.b


def test_lists_have_a_bound_whatever_the_slack():
    a, b = operands(d=4096)
    a[3, :LONGEST_LIST] = 1000
    for slack in (1, 4):
        assert plan_columns(a, b, NEW, slack).a.list_length == 2 * LONGEST_LIST
    a[3, LONGEST_LIST] = 1000
    assert plan_columns(a, b, NEW) is None


def report(flags, digits=(0, 0)):
    return Report(flags, 0, False, 0, digits, (0, 0), (0, 0), 0)


NOBODY = PerOperand(Floats(torch.empty(0), None), Floats(torch.empty(0), None))
SHAPE = 2, 256, 512, 192


def test_planes_grow_with_the_digits_that_were_met():
    assert next_plan(Dense(1, 2), report(4, (3, 0)), NOBODY, SHAPE, 1) == Dense(3, 2)


def test_sums_without_a_proof_get_64_bits():
    assert next_plan(Dense(2, 2), report(NO_PROOF), NOBODY, SHAPE, 1) == Dense(2, 2, wide=True)
    # With digits too few the sums of squares prove nothing: the digits come first.
    grown = next_plan(Dense(1, 1), report(NO_PROOF | 4, (5, 0)), NOBODY, SHAPE, 1)
    assert grown == Dense(5, 1)


def test_columns_give_way_to_planes_where_more_columns_would_not_help():
    side = Side(1, 1, 4, 16)
    columns = Columns(side, side, 0, 64, 16, False)
    assert next_plan(columns, report(NO_PROOF, (2, 2)), NOBODY, SHAPE, 1) == Dense(2, 2)
    assert next_plan(columns, report(4, (4, 0)), NOBODY, SHAPE, 1) == Dense(4, 1)
    assert next_plan(columns, report(1, (2, 2)), NOBODY, SHAPE, 3) == Dense(2, 2)


def test_plans_are_remembered_with_how_often_they_were_exceeded():
    memory, plan, other = PlanMemory(), Dense(1, 1), Dense(2, 2)
    assert memory.get("x") is None
    memory.keep("x", plan, exceeded=False)
    memory.keep("x", other, exceeded=True)
    memory.keep("x", other, exceeded=True)
    assert memory.get("x") == other
    assert memory.exceeded("x") == 2
    for _ in range(CALM):
        memory.keep("x", other, exceeded=False)
    assert memory.exceeded("x") == 1
    for _ in range(CALM):
        assert memory.get("x") == other
        memory.keep("x", other, exceeded=False)
    assert memory.get("x") is None


def test_a_plan_that_was_never_exceeded_stays():
    memory = PlanMemory()
    for _ in range(3 * CALM):
        memory.keep("x", Dense(1, 1), exceeded=False)
        assert memory.get("x") == Dense(1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_quotients_are_rounded_once(dtype):
    """Ties and their neighbours, and 49 * 359 / (7 * 7), which is one."""
    generator = torch.Generator().manual_seed(3)
    products = torch.randint(-(2**31), 2**31, (3000,), generator=generator)
    scales = torch.rand(3000, generator=generator).double() * torch.rand(3000, generator=generator)
    middles = torch.randint(2**8, 2**9, (500,), generator=generator) * 2 + 1
    factors = torch.randint(1, 2**12, (500,), generator=generator)
    products = torch.cat([products, middles * factors, torch.tensor([49 * 359])])
    scales = torch.cat([scales, factors.double(), torch.tensor([49.0], dtype=torch.float64)])
    found = rounded_quotient(products, scales, dtype)
    bits = torch.int32 if dtype is torch.float32 else torch.int16
    for c, scale, got in zip(products.tolist(), scales.tolist(), found, strict=True):
        if not torch.isfinite(got):
            continue
        exact = Fraction(c) / Fraction(scale)
        near = Fraction(float(got))
        for toward in (torch.inf, -torch.inf):
            other = torch.nextafter(got, torch.tensor(toward, dtype=dtype))
            if not torch.isfinite(other):
                continue
            gap = abs(Fraction(float(other)) - exact) - abs(near - exact)
            assert gap >= 0
            assert gap > 0 or int(got.view(bits)) % 2 == 0


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
