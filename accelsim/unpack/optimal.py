"""Optimal row-and-column covers: of one operand given the other, in turn."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from accelsim.errors import InputError
from accelsim.unpack.frontier import LeastCover, least_cover
from accelsim.unpack.levels import METHODS, Levels, cover
from accelsim.unpack.mincut import CoverNetwork, Integers
from accelsim.unpack.operand import IntegerOperand
from accelsim.unpack.problem import Product
from accelsim.unpack.products import repeats
from accelsim.unpack.strategy import CoverPair, Strategy, cheapest_pair


class Optimal(Strategy):
    """The proven least cover of A given B's and of B given A's, from several starts.

    For one operand the cover is the least there is; for both together it is a local minimum, at
    most as much as `mix`. The starts are the paper's three covers of either operand.

    Parameters
    ----------
    time_limit_s : float or None
        After this many seconds for one matrix pair the best so far is taken, and `strategy_chosen`
        says how far it may be from the least.
    """

    name = "optimal"

    def __init__(self, time_limit_s: float | None = None) -> None:
        if time_limit_s is not None and not time_limit_s > 0:
            raise InputError(f"time_limit_s: found {time_limit_s}; allowed: a number above 0")
        self.time_limit_s = time_limit_s

    def unpack_head(
        self, a: IntegerOperand, b: IntegerOperand, head: int
    ) -> tuple[list[Product], str]:
        """Search from every start and write out the cheapest pair of covers."""
        found = search(a, b, head, self.time_limit_s)
        name = self.name if found.proved else f"{self.name} (stopped {found.gap:.1%} above a bound)"
        return found.pair.products(a, b, head), name


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Parameters
    ----------
    pair : CoverPair
        The covers.
    bound_a, bound_b : int
        Lower bounds on the multiplications of any cover of A with B's cover fixed, and of any cover
        of B with A's fixed. They bound no change of both.
    """

    pair: CoverPair
    bound_a: int
    bound_b: int

    @property
    def proved(self) -> bool:
        """Whether neither cover can be improved while the other stays."""
        return min(self.bound_a, self.bound_b) >= self.pair.macs

    @property
    def gap(self) -> float:
        """The largest possible gap to the optimum for one operand, relative to it."""
        bound = min(self.bound_a, self.bound_b)
        return max(0.0, self.pair.macs / bound - 1) if bound else 0.0


def search(
    a: IntegerOperand, b: IntegerOperand, head: int, time_limit_s: float | None = None
) -> Found:
    """Alternate between the operands from every start; return the best pair of covers."""
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    mix = cheapest_pair(a, b, head)
    sides = a, b
    operands = [_Operand(x.counts[head].cpu().numpy(), deadline) for x in sides]
    best: Found | None = None
    for side, method in product((0, 1), METHODS):
        if deadline is not None and time.monotonic() >= deadline:
            break
        weights = cover(sides[side], head, method).columns.numpy()
        one, other = _alternate(operands[1 - side], operands[side], weights)
        found = _found(one, other) if side else _found(other, one)
        if best is None or found.pair.macs < best.pair.macs:
            best = found
    if best is None or mix.macs < best.pair.macs:
        dense = a.shape[1] * a.shape[2] * b.shape[1]
        return Found(mix, dense, dense)
    return best


class _Operand:
    """One operand; its least covers are kept by their weights."""

    def __init__(self, counts: npt.NDArray[np.integer], deadline: float | None) -> None:
        self._network = CoverNetwork.of(counts)
        self._deadline = deadline
        self._known: dict[bytes, LeastCover] = {}

    def least(self, weights: Integers) -> LeastCover:
        key = weights.tobytes()
        if key not in self._known:
            self._known[key] = least_cover(self._network, weights, self._deadline)
        return self._known[key]


def _alternate(
    first: _Operand, second: _Operand, weights: Integers
) -> tuple[LeastCover, LeastCover]:
    """Cover one operand for the columns of the other, then the other, until nothing improves.

    Parameters
    ----------
    first, second : _Operand
        A and B, or B and A.
    weights : ndarray
        Levels that some cover of `second` gives the columns.

    Returns
    -------
    tuple of LeastCover
        Of `first` and of `second`. Each cover has the bound that holds while the other stays.
    """
    one = first.least(weights)
    while True:
        other = second.least(one.point.columns)
        again = first.least(other.point.columns)
        x, y = one.point.x, int((one.point.columns * other.point.columns).sum())
        if again.point.cost >= x * y:
            return replace(again, point=replace(one.point, y=y)), other
        one = again


def _found(a: LeastCover, b: LeastCover) -> Found:
    rows_a, columns_a, rows_b, columns_b = (
        torch.from_numpy(levels)
        for levels in (a.point.rows, a.point.columns, b.point.rows, b.point.columns)
    )
    levels_a = Levels(rows_a, columns_a)
    repeated = columns_b[torch.cat(repeats(levels_a))]
    pair = CoverPair("optimal", levels_a, Levels(rows_b, repeated))
    return Found(pair, a.bound * b.point.x, b.bound * a.point.x)
