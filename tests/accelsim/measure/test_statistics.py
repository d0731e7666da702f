"""What repeated times say, against the definitions and against data whose truth is known."""

import itertools
import math

import numpy as np
import pytest

from accelsim.measure.statistics import (
    median_interval,
    outliers,
    relative_error,
    significant,
    slower_p,
    smallest_p,
    speedup,
)


@pytest.mark.parametrize("count", [6, 7, 8, 9, 17, 20, 51, 200, 1000])
def test_the_medians_interval_is_the_narrowest_that_covers_at_least_95_percent(count):
    interval = median_interval(list(range(1, count + 1)))
    below = int(interval.low) - 1

    def coverage(outside):
        tail = sum(math.comb(count, k) for k in range(outside + 1)) / 2**count
        return 1 - 2 * tail

    assert interval.high == count - below
    assert coverage(below) >= 0.95
    assert coverage(below + 1) < 0.95


def test_the_medians_interval_covers_a_known_median():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        interval = median_interval(generator.lognormal(0, 1, 15).tolist())
        covered += interval.low <= 1 <= interval.high
    assert covered >= 0.93 * 400


def test_few_times_give_the_extremes():
    interval = median_interval([3.0, 1.0, 2.0])
    assert (interval.low, interval.value, interval.high) == (1, 2, 3)
    assert relative_error([3.0, 1.0, 2.0, 2.0, 2.0, 2.0]) == 0.5
    assert relative_error([0.0] * 6) == 0
    assert relative_error([0.0] * 5 + [1.0]) == math.inf
    assert relative_error([3.0, 1.0, 2.0, 2.0, 2.0]) is None


def test_outliers_lie_beyond_tukeys_fences():
    assert outliers([1, 2, 3, 4, 5]) == 0
    assert outliers([1, 2, 3, 4, 5, 100, -100]) == 2


def test_a_speedup_is_a_ratio_of_medians_and_its_interval_holds_it():
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        slow, fast = generator.normal(20, 1, 20), generator.normal(10, 0.5, 20)
        ratio = speedup(fast.tolist(), slow.tolist())
        assert ratio.value == pytest.approx(np.median(slow) / np.median(fast))
        assert ratio.low <= ratio.value <= ratio.high
        held += ratio.low <= 2 <= ratio.high
    assert held >= 88
    assert speedup([1.0], [3.0]).low == speedup([1.0], [3.0]).high == 3
    assert speedup([1.0, 2.0], [3.0, 5.0]) == speedup([1.0, 2.0], [3.0, 5.0])


def test_the_p_value_is_the_share_of_arrangements_that_are_as_extreme():
    times, reference = [11.0, 14.0, 16.0, 9.5], [10.0, 8.0, 9.0]
    allowed = [1.05 * value for value in reference]
    pooled = times + allowed

    def u(values, others):
        return sum(x > y for x in values for y in others)

    arrangements = list(itertools.combinations(range(7), 4))
    extreme = sum(
        u([pooled[i] for i in chosen], [pooled[i] for i in range(7) if i not in chosen])
        >= u(times, allowed)
        for chosen in arrangements
    )
    assert slower_p(times, reference, 0.05) == pytest.approx(extreme / len(arrangements))
    assert smallest_p(4, 3) == 1 / len(arrangements)


def test_slower_within_the_tolerance_is_not_slower():
    generator = np.random.default_rng(3)
    old = generator.normal(10, 0.2, 20)
    assert slower_p((old * 1.04).tolist(), old.tolist(), 0.05) > 0.05
    assert slower_p((old * 1.10).tolist(), old.tolist(), 0.05) < 0.001


def test_many_comparisons_are_corrected_for():
    assert significant([0.004] * 10, 0.05) == [True] * 10
    assert significant([0.03, *[0.9] * 9], 0.05) == [False] * 10
    assert significant([0.0001, *[0.9] * 9], 0.05) == [True, *[False] * 9]
    assert significant([], 0.05) == []
