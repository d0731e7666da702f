"""The constrained choice: near the best of all choices, within its budget, and monotone in it."""

import itertools

import numpy as np
import pytest

from accelsim.tuning.solve import cheapest, least


def drawn(seed, items=4, options=4):
    generator = np.random.default_rng(seed)
    costs = [generator.uniform(1, 10, options) for _ in range(items)]
    return costs, [generator.uniform(0, 1, options) / cost for cost in costs]


def best_of_all(costs, errors, budget):
    sums = [
        (sum(c[i] for c, i in zip(costs, choice, strict=True)),
         sum(e[i] for e, i in zip(errors, choice, strict=True)))
        for choice in itertools.product(*(range(len(c)) for c in costs))
    ]  # fmt: skip
    return min(cost for cost, error in sums if error <= budget)


@pytest.mark.parametrize("seed", range(20))
def test_close_to_the_best_and_within_the_budget(seed):
    costs, errors = drawn(seed)
    low = least(costs, errors).error
    high = sum(float(e.max()) for e in errors)
    before = np.inf
    for budget in np.linspace(low, high, 8):
        found = cheapest(costs, errors, budget)
        assert found.error <= budget
        assert found.cost == pytest.approx(
            sum(c[i] for c, i in zip(costs, found.chosen, strict=True))
        )
        right = best_of_all(costs, errors, budget)
        assert right <= found.cost * (1 + 1e-12)
        assert found.cost <= right + max(float(np.ptp(c)) for c in costs)
        before = min(before, found.cost)
    assert before == pytest.approx(sum(float(c.min()) for c in costs))


def test_no_choice_in_the_budget_and_equal_options():
    costs, errors = drawn(0)
    assert cheapest(costs, errors, least(costs, errors).error * 0.999) is None
    same = [np.array([2.0, 2.0])], [np.array([0.5, 0.25])]
    assert cheapest(*same, 1.0).chosen == [1], "of equal costs the least error"
