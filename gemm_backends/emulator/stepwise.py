"""The plain emulation: every step of every sum, one after the other, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gemm_backends.datapath import Datapath
from gemm_backends.types import Accumulator, OverflowReport

Products = Callable[[int], Tensor]
"""Returns the products of every pair of rows at one k: ``[n, h]`` int64."""


def step(state: Tensor, addend: Tensor, accumulator: Accumulator) -> tuple[Tensor, Tensor]:
    """Add to a register once.

    Parameters
    ----------
    state, addend : Tensor
        int64; `state` fits the register.
    accumulator : Accumulator
        The register. One whose overflow is ``"error"`` continues like a wrapping one, so that its
        overflows can be counted.

    Returns
    -------
    state : Tensor
        What the register holds then, int64.
    overflowed : Tensor
        Where the sum did not fit, bool.
    """
    total = state + addend
    if accumulator.bits == 64:  # int64 wrapped: the sum left the range if its sign is neither's
        overflowed = ((state ^ total) & (addend ^ total)) < 0
        upward = addend > 0
    else:
        upward = total > accumulator.maximum
        overflowed = upward | (total < accumulator.minimum)
    if accumulator.overflow == "saturate":
        limit = torch.where(upward, accumulator.maximum, accumulator.minimum)
        return torch.where(overflowed, limit, total), overflowed
    return wrapped(total, accumulator), overflowed


def wrapped(values: Tensor, accumulator: Accumulator) -> Tensor:
    """Return int64 `values` modulo the register's range."""
    if accumulator.bits == 64:
        return values
    low, mask = accumulator.minimum, (1 << accumulator.bits) - 1
    return ((values - low) & mask) + low


@dataclass
class _Overflows:
    """Counts overflows, and remembers the k of the first in every entry."""

    counts: Tensor
    first: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first = torch.zeros_like(self.counts)

    def add(self, overflowed: Tensor, k: int) -> None:
        self.first = torch.where(overflowed & (self.counts == 0), k, self.first)
        self.counts = self.counts + overflowed

    def report(self) -> OverflowReport:
        total = int(self.counts.sum())
        if total == 0:
            return OverflowReport(0)
        row, column = self.counts.nonzero()[0].tolist()
        return OverflowReport(total, (row, column, int(self.first[row, column])))


def accumulate(
    products: Products, d: int, shape: tuple[int, int], datapath: Datapath, device: torch.device
) -> tuple[Tensor, OverflowReport]:
    """Sum the products of every pair of rows.

    Parameters
    ----------
    products : callable
        Returns the products at one k.
    d : int
        Number of products per sum.
    shape : tuple of int
        ``(n, h)``.
    datapath : Datapath
        How they are summed.
    device : torch.device
        Where.

    Returns
    -------
    product : Tensor
        ``[n, h]`` int64.
    report : OverflowReport
        Counts the steps of both registers; the k of the first is that of the last product which
        the step adds.
    """

    def zeros() -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=device)

    overflows = _Overflows(zeros())
    total = zeros()
    for block in datapath.blocks(d):
        state = zeros()
        for start in range(block.start, block.stop, datapath.tree):
            stop = min(start + datapath.tree, block.stop)
            addend = products(start)
            for k in range(start + 1, stop):
                addend = addend + products(k)
            state, overflowed = step(state, addend, datapath.inner)
            overflows.add(overflowed, stop - 1)
        if datapath.outer is None:
            total = state
        else:
            total, overflowed = step(total, state, datapath.outer)
            overflows.add(overflowed, block.stop - 1)
    return total, overflows.report()


def multiplier(a: Tensor, b: Tensor, table: Tensor | None) -> Products:
    """Return what multiplies at one k.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]``: digits, or, with a table, positions in it.
    table : Tensor or None
        Integers: entry ``[i, j]`` is a product. None for an exact multiplier.
    """
    rows, columns = a.to(torch.int64), b.to(torch.int64)
    if table is None:
        return lambda k: rows[:, k, None] * columns[None, :, k]
    products = table.to(torch.int64)
    return lambda k: products[rows[:, k, None], columns[None, :, k]]


def first_overflow(products: Sequence[int], datapath: Datapath) -> int:
    """Return the last k of the first step of one sum that overflows.

    Parameters
    ----------
    products : sequence of int
        What is summed, in the order of k.
    datapath : Datapath
        How.

    Raises
    ------
    ValueError
        If no step overflows.
    """
    total = 0
    for block in datapath.blocks(len(products)):
        state = 0
        for start in range(block.start, block.stop, datapath.tree):
            stop = min(start + datapath.tree, block.stop)
            state += sum(products[start:stop])
            if not _fits(state, datapath.inner):
                return stop - 1
        total += state
        if datapath.outer is not None and not _fits(total, datapath.outer):
            return block.stop - 1
    raise ValueError("no step overflows")


def _fits(value: int, accumulator: Accumulator) -> bool:
    return accumulator.minimum <= value <= accumulator.maximum
