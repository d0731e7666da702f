"""Whether a ratio of times is a result: the rule, at its bounds."""

import math

import numpy as np
import pytest

from accelsim.measure.ratios import BUSY, FEWEST, LOOSE, WIDEST, explain_doubts, time_ratio
from accelsim.measure.statistics import Interval, quotient_interval, sum_interval

STEADY = [1.0] * FEWEST
TINY = 1e-9


def spread(low, high):
    """Return repeats whose median is 1 and whose interval has these ends."""
    return [low, 1.0, 1.0, 1.0, 1.0, high]


def test_steady_times_of_a_quiet_machine_are_a_result():
    ratio = time_ratio([STEADY], [[3.0] * FEWEST], load_per_core=BUSY)
    assert (ratio.value, ratio.approximate, ratio.void) == (3.0, False, "")
    assert ratio.interval == Interval(3.0, 3.0, 3.0)


@pytest.mark.parametrize("side", [0, 1])
def test_one_repeat_less_than_the_fewest_is_approximate(side):
    sides = [[STEADY, STEADY], [STEADY, STEADY]]
    sides[side] = [STEADY, STEADY[1:]]
    ratio = time_ratio(*sides)
    assert ratio.doubts == (f"fewer than {FEWEST} repeats known",)
    assert ratio.value == 1.0


def test_a_busy_machine_makes_it_approximate():
    assert time_ratio([STEADY], [STEADY], BUSY + 0.01).doubts == ("busy machine",)


def test_a_wide_interval_makes_it_approximate_at_the_limit():
    within, beyond = (
        time_ratio([STEADY], [spread(1 - w, 1 + w)]) for w in (LOOSE - TINY, LOOSE + TINY)
    )
    assert not within.approximate
    assert beyond.doubts == ("±10% or more",)
    assert beyond.percent == pytest.approx(100 * LOOSE)


def test_an_interval_wider_than_a_factor_of_two_is_no_result_at_the_limit():
    within, beyond = (
        time_ratio([STEADY], [spread(0.75, high)]) for high in (1.5 - TINY, 1.5 + TINY)
    )
    assert within.value == 1.0
    assert within.approximate
    assert beyond.value is None
    assert beyond.void == f"the repeats spread over a factor of {WIDEST:g}"


def test_a_slow_mode_of_the_baseline_is_no_speed_up():
    """A float GEMM of 0.1 ms that waits for a time slice in half of its repeats."""
    modes = [0.1, 8.0, 0.1, 8.0, 0.1, 8.0, 0.1, 8.0, 8.0, 8.0]
    assert time_ratio([[5.5] * 10], [modes]).value is None


def test_sums_are_over_the_medians_of_the_parts():
    ratio = time_ratio([[1.0] * 6, [3.0] * 6], [[2.0] * 6, [4.0] * 6])
    assert ratio.value == 1.5


def test_the_interval_of_a_sum_and_of_a_quotient_cover_the_truth():
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        parts = [generator.lognormal(np.log(mean), 0.2, 15).tolist() for mean in (1, 2, 5)]
        over = [generator.lognormal(np.log(mean), 0.2, 15).tolist() for mean in (1, 3)]
        interval = time_ratio(over, parts).interval
        held += interval.low <= 2 <= interval.high
    assert held >= 0.94 * 200


def test_intervals_at_their_ends():
    one = Interval(1.0, 1.0, 1.0)
    assert sum_interval([one, Interval(2.0, 1.0, 4.0)]) == Interval(3.0, 2.0, 5.0)
    assert quotient_interval(Interval(2.0, 0.0, 4.0), one) == Interval(2.0, 0.0, pytest.approx(4))
    assert quotient_interval(one, Interval(1.0, 0.0, 1.0)).high == math.inf
    assert time_ratio([[0.0] * 6], [STEADY]) is None
    assert time_ratio([STEADY], [[0.0] * 6]).value == 0.0


def test_the_marks_are_explained_with_their_counts():
    found = [
        time_ratio([STEADY], [STEADY]),
        time_ratio([STEADY], [[1.0]]),
        time_ratio([STEADY], [spread(0.1, 9.0)]),
        None,
    ]
    assert explain_doubts(found) == {
        "~": "approximate: fewer than 6 repeats known (1 of 3)",
        "–": "not a result: the repeats spread over a factor of 2 (1 of 3)",
    }
    assert explain_doubts(found[:1]) == {}
