"""The check that a route counts what it does."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from accelsim.types import SIDES, Counts, PerOperand, Side
from gemm_backends.conformance.check import CheckFailed, check
from gemm_backends.conformance.routes.opened import Opened, Ran, each
from gemm_backends.conformance.routes.reference import rounded
from gemm_backends.conformance.routes.requests import WEIGHT, usual, varied, worded
from gemm_backends.conformance.routes.values import KINDS
from gemm_backends.conformance.subject import Subject

NUMBERS = (
    *("dense_macs", "low_bit_macs", "sparse_macs", "executed_macs", "shift_adds"),
    *("gather_bytes", "scatter_bytes", "gemm_bytes", "products", "replans", "overflows"),
)


@check
def route_counts(subject: Subject) -> str:
    """Numbers in counts() are right: r, what is out of bound, digits, what came prepared."""
    runs = 0
    request = usual(subject)
    weight = replace(request, shape=(1, None, 96, 40), fixed=WEIGHT)
    empty = replace(request, shape=(1, 0, 96, 40))
    for route in each(subject, [*varied(subject), weight, empty]):
        before = 0
        for seed, kind in enumerate(KINDS):
            operands = route.draw(PerOperand.both(kind), 2 * seed)
            ran = route.verify(operands, kind)
            what = f"{worded(route.request)}; A and B with {kind}"
            _verify_counts(route, operands, ran, what)
            if ran.counts.replans < before:
                raise CheckFailed(f"{what}: replans fell from {before} to {ran.counts.replans}")
            before = ran.counts.replans
            runs += 1
    return f"{runs} runs"


def _verify_counts(route: Opened, operands: PerOperand[Tensor], ran: Ran, what: str) -> None:
    counts: object = ran.counts
    if not isinstance(counts, Counts):
        raise CheckFailed(f"{what}: counts() returned {type(counts).__name__}, not Counts")
    for name in NUMBERS:
        value = getattr(counts, name)
        if type(value) is not int or value < 0:
            raise CheckFailed(f"{what}: {name} is {value!r}, not an integer from 0 on")
    if not counts.strategy_chosen or not isinstance(counts.strategy_chosen, str):
        raise CheckFailed(f"{what}: strategy_chosen is {counts.strategy_chosen!r}")
    dense = math.prod(operands.a.shape) * operands.b.shape[-2]
    _same(counts.dense_macs, dense, f"{what}: dense_macs")
    if counts.low_bit_macs < dense:
        raise CheckFailed(f"{what}: low_bit_macs is {counts.low_bit_macs}, below {dense}")
    for side in SIDES:
        _same(
            getattr(counts, f"entries_{side}"), operands.of(side).numel(), f"{what}: entries_{side}"
        )
        if dense:  # where there is nothing to multiply nobody needs to look
            _verify_digits(route, counts, side, operands.of(side), what)
    if not set(counts.prepared) <= route.request.fixed:
        given = sorted(route.request.fixed)
        raise CheckFailed(f"{what}: prepared is {counts.prepared!r}, and {given} came prepared")


def _verify_digits(route: Opened, counts: Counts, side: Side, x: Tensor, what: str) -> None:
    system = route.request.digits.of(side)
    integers = rounded(x, route.request.rounding.of(side)).integers
    out = int(system.out_of_bound(integers).sum())
    _same(getattr(counts, f"out_of_bound_{side}"), out, f"{what}: out_of_bound_{side}")
    digits = int(system.count(integers).max())
    _same(getattr(counts, f"max_digits_{side}"), digits, f"{what}: max_digits_{side}")


def _same(found: object, wanted: int, what: str) -> None:
    if type(found) is not int or found != wanted:
        raise CheckFailed(f"{what} is {found!r} instead of {wanted}")


CHECKS = (route_counts,)
