"""Checks that find out by experiment what the accumulator does, and compare it with the claim."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.subject import Subject
from gemm_backends.errors import AccumulatorOverflow
from gemm_backends.types import OverflowReport

LONGEST_K = {"cuda": 1 << 26}
LONGEST_K_ELSEWHERE = 1 << 21
"""The longest sums that are tried, by kind of device."""

SIZES = ((2, 3), (32, 48))
"""Numbers of rows (n, h) for which a library may choose different kernels."""

LARGEST_OPERAND = 1 << 23
"""The most digits of an operand for which the larger of them is tried."""


@check
def accumulator_bound(subject: Subject) -> str:
    """Longest sums that fit the claimed accumulator are exact, at both ends of its range."""
    lengths = []
    for sign in (1, -1):
        d = _longest(subject, sign)
        if d == 0:
            continue
        d = min(d, _longest_tried(subject))
        if subject.supports(2, d, 3):
            a, b = _extremes(subject, d, sign)
            subject.verify(a, b, f"K = {d}, every product {sign * _step(subject, sign)}")
            for digits in (a, b):
                digits[:, 1::3] -= digits.sign()[:, 1::3]
            subject.verify(a, b, f"K = {d}, most products {sign * _step(subject, sign)}")
            lengths.append(d)
    if not lengths:
        raise NotApplicable("one product can already exceed the accumulator")
    return f"K = {', '.join(f'{d:,}' for d in lengths)}"


@check
def accumulator_overflow(subject: Subject) -> str:
    """One step over the bound, a sum wraps, saturates or raises as claimed."""
    claimed = subject.accumulator
    _require_claim(subject)
    for sign, (n, h) in itertools.product((1, -1), SIZES):
        d = _longest(subject, sign) + 1
        _require(subject, d)
        if max(n, h) * d > LARGEST_OPERAND or not subject.supports(n, d, h):
            continue
        a, b = _extremes(subject, d, sign, n, h)
        total = sign * d * _step(subject, sign)
        found = _behaviour(subject, a, b, total)
        if found != _CLAIMS[claimed.overflow]:
            raise CheckFailed(
                f"a {claimed.bits}-bit accumulator that {_CLAIMS[claimed.overflow]} is claimed; "
                f"for [{n}, {d}] x [{h}, {d}], where the sum is {total}, it {found}"
            )
    return f"it {_CLAIMS[claimed.overflow]}"


@check
def accumulator_partial_sums(subject: Subject) -> str:
    """Partial sums that leave the range wrap, saturate or raise even if the total fits."""
    claimed = subject.accumulator
    _require_claim(subject)
    if _longest(subject, 1) == 0:
        raise NotApplicable("one product can already exceed the accumulator")
    over = 2 * (_longest(subject, 1) + 1)
    peak = over * _step(subject, 1)
    back = 3 * peak // (4 * _step(subject, -1))
    total = peak - back * _step(subject, -1)
    _require(subject, over + back)
    a = subject.full("a", 2, over + back, subject.lowest("a"))
    b = subject.full("b", 3, over + back, subject.lowest("b"))
    b[:, over:] = subject.highest("b")
    what = f"the sum climbs to {peak} and falls to {total}"
    if claimed.overflow == "wrap":
        subject.verify(a, b, what)
        return "it wraps in any order"
    if claimed.overflow == "error":
        found = _behaviour(subject, a, b, total)
        if found != _CLAIMS["error"]:
            raise CheckFailed(f"{what}, which does not raise: it {found}")
        return "it raises"
    result = int(subject.backend.multiply(a, b).flatten()[0])
    stepwise = max(claimed.maximum - back * _step(subject, -1), claimed.minimum)
    if result == total:
        raise CheckFailed(f"{what}: got that; saturation at every step gives {stepwise}")
    if not stepwise <= result < total:
        raise CheckFailed(f"{what}: got {result}; saturation at every step gives {stepwise}")
    return "it saturates " + ("at every step" if result == stepwise else "every few steps")


@check
def overflow_report(subject: Subject) -> str:
    """`matmul_report` gives the same product, and counts overflows only where there are some."""
    a, b = _extremes(subject, 1, 1) if _longest(subject, 1) else subject.random(2, 0, 3)
    product, report = subject.backend.multiply_report(a, b)
    subject.compare(product, subject.expected(a, b), "the product of multiply_report")
    if report.count is None:
        raise NotApplicable("the backend cannot tell")
    if report != OverflowReport(0):
        raise CheckFailed(f"nothing overflowed, and it reported {report}")
    d = _longest(subject, 1) + 1
    _require(subject, d)
    a, b = _extremes(subject, d, 1)
    try:
        _, report = subject.backend.multiply_report(a, b)
    except AccumulatorOverflow as error:
        report = error.report
    if report.count is None:
        return "none where nothing overflows; elsewhere it cannot tell"
    if report.count != 6:
        raise CheckFailed(f"each of 6 sums overflowed once, and it reported {report.count} steps")
    if report.first not in (None, (0, 0, d - 1)):
        raise CheckFailed(
            f"the first overflow is at {(0, 0, d - 1)}, and it reported {report.first}"
        )
    return f"6 steps reported at K = {d:,}"


_CLAIMS = {"wrap": "wraps", "saturate": "saturates", "error": "raises AccumulatorOverflow"}


def _step(subject: Subject, sign: int) -> int:
    """Return the largest magnitude of a product of this sign."""
    return abs(subject.lowest("a") * (subject.lowest("b") if sign > 0 else subject.highest("b")))


def _longest(subject: Subject, sign: int) -> int:
    """Return how many such products fit the accumulator together."""
    limit = subject.accumulator.maximum if sign > 0 else -subject.accumulator.minimum
    return limit // _step(subject, sign)


def _extremes(subject: Subject, d: int, sign: int, n: int = 2, h: int = 3) -> tuple[Tensor, Tensor]:
    digit_b = subject.lowest("b") if sign > 0 else subject.highest("b")
    return subject.full("a", n, d, subject.lowest("a")), subject.full("b", h, d, digit_b)


def _longest_tried(subject: Subject) -> int:
    return LONGEST_K.get(torch.device(subject.device).type, LONGEST_K_ELSEWHERE)


def _require_claim(subject: Subject) -> None:
    if subject.accumulator.overflow == "undefined":
        raise NotApplicable("it claims nothing about sums that do not fit")


def _require(subject: Subject, d: int) -> None:
    if d > _longest_tried(subject):
        raise NotApplicable(f"an overflow takes K = {d:,}, more than is tried")
    if not subject.supports(2, d, 3):
        raise NotApplicable(f"supports() refuses K = {d:,}, where it would overflow")


def _behaviour(subject: Subject, a: Tensor, b: Tensor, total: int) -> str:
    """Say what became of a sum that passed the accumulator's range."""
    claimed = subject.accumulator
    try:
        product = subject.backend.multiply(a, b)
    except AccumulatorOverflow:
        return _CLAIMS["error"]
    values = set(product.flatten().tolist())
    wrapped = (total - claimed.minimum) % (1 << claimed.bits) + claimed.minimum
    if values == {total} and total != wrapped:
        return "gives the exact sum: it is wider than claimed"
    if values == {wrapped}:
        return _CLAIMS["wrap"]
    if values == {claimed.maximum if total > 0 else claimed.minimum}:
        return _CLAIMS["saturate"]
    return f"gives {sorted(values)[0]}, which is none of wrapping, saturating and exact"


CHECKS = (accumulator_bound, accumulator_overflow, accumulator_partial_sums, overflow_report)
