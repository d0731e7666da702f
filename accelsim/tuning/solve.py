"""The cheapest choice of one option for each place whose errors add up to at most a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEPS = 60
"""Halvings of the interval of the multiplier: more than float64 tells apart."""


@dataclass(frozen=True)
class Solution:
    """One option for each item.

    Parameters
    ----------
    chosen : list of int
        Of each item, the index of its option.
    cost, error : float
        Their sums.
    """

    chosen: list[int]
    cost: float
    error: float


def cheapest(costs: Sequence[Floats], errors: Sequence[Floats], budget: float) -> Solution | None:
    """Choose options with the least sum of costs among those with a sum of errors in a budget.

    Parameters
    ----------
    costs, errors : sequence of ndarray
        Of each item, of each of its options.
    budget : float
        What the errors may add up to.

    Returns
    -------
    Solution or None
        None if even the least errors add up to more.

    Notes
    -----
    With a Lagrange multiplier λ each item takes the option of least ``cost + λ error`` by itself
    (Everett, "Generalized Lagrange multiplier method", Operations Research 11, 1963). The least λ
    that meets the budget is found by bisection. What is then left of the budget is spent on the
    exchanges that save most for the error they add. The result is optimal for the budget that it
    uses before these exchanges; the gap to the best is at most one item's.
    """
    found = least(costs, errors)
    if found.error > budget:
        return None
    free = _at(costs, errors, 0.0)
    if free.error <= budget:
        return free
    low, high = 0.0, _large(costs, errors)
    for _ in range(STEPS):
        middle = np.sqrt(low * high) if low else high / 2**16
        tried = _at(costs, errors, middle)
        if tried.error <= budget:
            high = middle
            found = min(found, tried, key=lambda s: s.cost)
        else:
            low = middle
    return _spend(costs, errors, budget, found)


def least(costs: Sequence[Floats], errors: Sequence[Floats]) -> Solution:
    """Choose the option of the least error of each item; of equal ones the cheapest.

    Parameters
    ----------
    costs, errors : sequence of ndarray
        Of each item, of each of its options.
    """
    pairs = zip(costs, errors, strict=True)
    return _pick(costs, errors, [int(np.lexsort((c, e))[0]) for c, e in pairs])


def _large(costs: Sequence[Floats], errors: Sequence[Floats]) -> float:
    spread = sum(float(np.ptp(c)) for c in costs)
    steps = [np.diff(np.unique(e)) for e in errors]
    smallest = min((float(s.min()) for s in steps if s.size), default=1.0)
    return 2 * (spread + 1) / max(smallest, 1e-300)


def _pick(costs: Sequence[Floats], errors: Sequence[Floats], chosen: Sequence[int]) -> Solution:
    indices = [int(index) for index in chosen]
    cost = sum(float(c[i]) for c, i in zip(costs, indices, strict=True))
    error = sum(float(e[i]) for e, i in zip(errors, indices, strict=True))
    return Solution(indices, cost, error)


def _at(costs: Sequence[Floats], errors: Sequence[Floats], multiplier: float) -> Solution:
    """Take of each item what is best under a multiplier; of equal ones that of the least error."""
    chosen = [np.lexsort((e, c + multiplier * e))[0] for c, e in zip(costs, errors, strict=True)]
    return _pick(costs, errors, chosen)


def _spend(
    costs: Sequence[Floats], errors: Sequence[Floats], budget: float, found: Solution
) -> Solution:
    """Exchange options for cheaper ones while the budget allows any."""
    chosen, left = list(found.chosen), budget - found.error
    while True:
        best, exchange = 0.0, None
        for item, (c, e) in enumerate(zip(costs, errors, strict=True)):
            saved, added = c[chosen[item]] - c, e - e[chosen[item]]
            fits = (saved > 0) & (added <= left)
            if fits.any():
                with np.errstate(over="ignore"):  # what adds no error gains without limit
                    gains = np.where(fits, saved / np.maximum(added, 1e-300), 0.0)
                option = int(np.argmax(gains))
                if gains[option] > best:
                    best, exchange = float(gains[option]), (item, option)
        if exchange is None:
            return _pick(costs, errors, chosen)
        item, option = exchange
        left -= float(errors[item][option] - errors[item][chosen[item]])
        chosen[item] = option
