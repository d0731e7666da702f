"""Signed digits of both systems, against Python's integers."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from accelsim.arithmetic.digits import DIGIT_SYSTEMS, DigitSystem
from accelsim.errors import InputError

SYSTEMS = [DigitSystem(name, bits) for name in DIGIT_SYSTEMS for bits in range(2, 17)]
MOST = 2**62 - 1
INTEGERS = st.integers(-MOST, MOST) | st.integers(0, 61).map(lambda bits: 1 << bits)


def ranges(system):
    """Return the radix, the low digits and the digits as the two papers have them."""
    half = 2 ** (system.bits - 1)
    if system.name == "paper":
        return half, range(half), range(1 - half, half)
    return 2 * half, range(-half, half), range(-half, half)


def digits_of(value, system):
    """Write an integer in as few digits as there can be, the lowest first."""
    radix, low, digits = ranges(system)
    found = []
    while value not in digits:
        digit = (value - low.start) % radix + low.start
        found.append(digit)
        value = (value - digit) // radix
    return [*found, value]


def test_both_systems_are_there():
    assert DIGIT_SYSTEMS == ("paper", "balanced")


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_what_a_digit_is(system):
    radix, low, digits = ranges(system)
    assert 2**system.shift == radix
    assert system.low_digits == (low[0], low[-1])
    assert system.digits == (digits[0], digits[-1])
    assert system.largest == max(-digits[0], digits[-1])
    assert system.keeps_last == (system.name == "paper")
    assert system.dtype == (torch.int8 if system.bits <= 8 else torch.int16)
    info = torch.iinfo(system.dtype)
    assert info.min <= digits[0] <= digits[-1] <= info.max


@pytest.mark.parametrize("bits", [-1, 0, 1, 17])
def test_other_widths_are_refused(bits):
    with pytest.raises(InputError, match=f"bits: found {bits}; allowed: an integer from 2 to 16"):
        DigitSystem("paper", bits)


def test_other_names_are_refused():
    with pytest.raises(InputError, match="did you mean 'balanced'"):
        DigitSystem("balance", 8)


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_the_reach_of_some_levels_is_what_they_write_and_no_more(system):
    for levels in range(1, 5):
        smallest, largest = system.reach(levels)
        for value in (smallest, largest):
            assert len(digits_of(value, system)) == levels
        for value in (smallest - 1, largest + 1):
            assert len(digits_of(value, system)) == levels + 1
        if largest < MOST:
            edges = torch.tensor([smallest - 1, smallest, largest, largest + 1])
            assert system.count(edges).tolist() == [levels + 1, levels, levels, levels + 1]
            assert system.out_of_bound(edges).tolist() == [True, levels > 1, levels > 1, True]
            left = edges.tolist()
            for _ in range(levels):
                left = [(value - ranges(system)[1].start) // 2**system.shift for value in left]
            at_once = (edges + system.carry(levels)) >> (levels * system.shift)
            assert at_once.tolist() == left
        assert system.levels(min(-smallest, largest)) == levels
        assert system.levels(min(-smallest, largest) + 1) == levels + 1
    assert system.levels(0) == 1


@given(st.sampled_from(SYSTEMS), st.lists(INTEGERS, min_size=1, max_size=5), st.integers(0, 40))
@example(DigitSystem("balanced", 2), [MOST, -MOST], 40)
@example(DigitSystem("paper", 2), [MOST, -MOST], 61)
@example(DigitSystem("paper", 16), [MOST, -MOST, 0, 1, -1], 4)
@example(DigitSystem("balanced", 3), [MOST, -MOST], 22)
@example(DigitSystem("balanced", 7), [MOST, -MOST], 10)
@example(DigitSystem("balanced", 9), [MOST, -MOST], 8)
def test_splits_one_by_one_and_at_once(system, values, splits):
    x, radix = torch.tensor(values), 2**system.shift
    low, high = system.split(x)
    expected = [digits_of(value, system) for value in values]
    for value, digit, rest in zip(values, low.tolist(), high.tolist(), strict=True):
        assert digit in ranges(system)[1]
        assert digit + radix * rest == value
    assert system.count(x).tolist() == [len(digits) for digits in expected]
    assert system.out_of_bound(x).tolist() == [len(digits) > 1 for digits in expected]
    left = values
    for _ in range(splits):
        left = [(value - ranges(system)[1].start) // radix for value in left]
    first, second = system.parts_of_split(splits)
    assert first + second <= splits
    at_once = x
    for part in (first, second):
        assert MOST + system.carry(part) < 2**63
        assert part * system.shift < 64
        at_once = (at_once + system.carry(part)) >> (part * system.shift)
    assert at_once.tolist() == left


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_counts_of_narrow_types_and_of_nothing(dtype):
    system = DigitSystem("balanced", 4)
    found = system.count(torch.tensor([[-128, 127, 7, -8, 8, 0]], dtype=dtype))
    assert found.tolist() == [[2, 3, 1, 1, 2, 1]]
    assert found.dtype == torch.int64
    assert system.count(torch.empty(0, 3, dtype=dtype)).shape == (0, 3)
