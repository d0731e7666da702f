"""Conversions and powers of two of any float32, subnormal ones too, against fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accelsim.arithmetic.exactly import (
    magnitude_bits,
    times_power,
    widened,
    widened_magnitudes,
)

NAMED = [0.0, 2.0**-149, 3 * 2.0**-149, 2.0**-126 - 2.0**-149, 2.0**-126, 1.0, 2.0**127]
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(NAMED)
SIGNED = [sign * value for value in NAMED for sign in (1, -1)]


@pytest.mark.parametrize("flush", [False, True])
def test_widened_is_the_same_number(flush):
    x = torch.tensor(SIGNED, dtype=torch.float32)
    if not torch.set_flush_denormal(flush):
        pytest.skip("this processor has subnormal numbers always")
    try:
        wide, magnitudes = widened(x), widened_magnitudes(x.numpy())
    finally:
        torch.set_flush_denormal(False)
    assert wide.dtype == torch.float64
    assert wide.tolist() == SIGNED
    assert magnitudes.tolist() == [abs(value) for value in SIGNED]
    assert np.signbit(wide.numpy()).tolist() == np.signbit(SIGNED).tolist()


def test_bits_order_magnitudes():
    x = torch.tensor(SIGNED, dtype=torch.float32)
    expected = [int(np.float32(abs(value)).view(np.int32)) for value in SIGNED]
    assert magnitude_bits(x).tolist() == expected


@given(NUMBERS, st.integers(-200, 200))
def test_a_power_of_two_rounds_once(value, exponent):
    exact = Fraction(value) * Fraction(2) ** exponent
    if abs(exact) >= 2**128 - 2**103:
        return
    found = float(times_power(torch.tensor([value], dtype=torch.float32), exponent))
    small = abs(exact) < 2**-126
    if small:
        assert Fraction(found) == round(exact / Fraction(2) ** -149) * Fraction(2) ** -149
    else:
        assert Fraction(found) == exact
