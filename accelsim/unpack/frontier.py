"""The least product over all covers of one operand, with the proof that it is the least.

A cover of rows rho and columns gamma costs ``x * y`` with ``x = sum(rho)`` and ``y`` the weighted
sum of gamma. In every triangle below the points that covers reach, ``x * y`` is least at a corner,
so that its least is on their lower convex hull, each of whose edges is one minimum cut.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, gcd

import numpy as np

from accelsim.unpack.mincut import CAPACITY, CoverNetwork, Integers


@dataclass(frozen=True)
class SupportLine:
    """A proved bound: every cover has ``row_weight * x + column_weight * y >= value``."""

    row_weight: int
    column_weight: int
    value: int


@dataclass(frozen=True)
class Point:
    """A cover and its sums.

    Parameters
    ----------
    rows, columns : ndarray
        int64, the levels.
    x, y : int
        Sum of the levels of rows, and weighted sum of those of columns.
    """

    rows: Integers
    columns: Integers
    x: int
    y: int

    @property
    def cost(self) -> int:
        """The product that is minimised."""
        return self.x * self.y


@dataclass(frozen=True)
class LeastCover:
    """The best cover that was found, and what proves how good it is.

    Parameters
    ----------
    point : Point
        The cover.
    bound : int
        No cover costs less; equal to the cost of the best one unless the search was stopped.
    supports : sequence of SupportLine
        What the bound follows from: the least of ``x * y`` where all of them hold.
    """

    point: Point
    bound: int
    supports: Sequence[SupportLine]


def least_cover(
    network: CoverNetwork, column_weights: Integers, deadline: float | None = None
) -> LeastCover:
    """Minimise ``sum(rows) * sum(column_weights * columns)`` over all covers of an operand.

    Parameters
    ----------
    network : CoverNetwork
        The operand.
    column_weights : ndarray
        int64 ``[d]``, at least 1: the levels that the other operand gives each column.
    deadline : float or None
        When to stop, on the clock of `time.monotonic`; the best so far is returned.
    """
    n, d = network.shape
    ones_n, ones_d = np.ones(n, np.int64), np.ones(d, np.int64)
    left = _point(ones_n, network.needed_columns, column_weights)
    right = _point(network.needed_rows, ones_d, column_weights)
    supports = [SupportLine(1, 0, left.x), SupportLine(0, 1, right.y)]
    best = min(left, right, key=lambda point: point.cost)
    edges: list[tuple[Fraction, int, Point, Point, SupportLine, SupportLine]] = []
    stuck: list[Fraction] = []

    def add(first: Point, second: Point, above: SupportLine, below: SupportLine) -> None:
        if first.x < second.x:
            key = _least_between(above, below), next(numbers)
            heapq.heappush(edges, (*key, first, second, above, below))

    numbers = itertools.count()
    add(left, right, *supports)
    while edges and edges[0][0] < best.cost:
        if deadline is not None and time.monotonic() >= deadline:
            stuck += [edge[0] for edge in edges]
            break
        bound, _, first, second, above, below = heapq.heappop(edges)
        row_weight, column_weight, exact = _normal(first, second, network, column_weights)
        cut = network.cut(row_weight, column_weight * column_weights)
        support = SupportLine(row_weight, column_weight, cut.value)
        supports.append(support)
        point = _point(cut.rows, cut.columns, column_weights)
        apart = _area(above, support) and _area(support, below)
        if apart and first.x < point.x < second.x:
            best = min(best, point, key=lambda point: point.cost)
            add(first, point, above, support)
            add(point, second, support, below)
        elif not exact:
            stuck.append(bound)
    return LeastCover(best, min([best.cost, *map(ceil, stuck)]), supports)


def _point(rows: Integers, columns: Integers, column_weights: Integers) -> Point:
    return Point(rows, columns, int(rows.sum()), int((columns * column_weights).sum()))


def _normal(
    first: Point, second: Point, network: CoverNetwork, column_weights: Integers
) -> tuple[int, int, bool]:
    """Return the weights for which two points cost the same, and whether they are exact.

    Weights that the network's capacities cannot hold are divided and rounded.
    """
    down, right = first.y - second.y, second.x - first.x
    common = gcd(down, right)
    down, right = down // common, right // common
    excess = max(network.largest_capacity(down, right * column_weights) / CAPACITY, 1)
    if excess == 1:
        return down, right, True
    return max(1, int(down / excess)), max(1, int(right / excess)), False


def _area(first: SupportLine, second: SupportLine) -> int:
    """Return 0 for bounds of one slope."""
    return first.row_weight * second.column_weight - second.row_weight * first.column_weight


def _least_between(first: SupportLine, second: SupportLine) -> Fraction:
    """Return ``x * y`` where both bounds are tight."""
    area = _area(first, second)
    x = first.value * second.column_weight - second.value * first.column_weight
    y = first.row_weight * second.value - second.row_weight * first.value
    return Fraction(x, area) * Fraction(y, area)
