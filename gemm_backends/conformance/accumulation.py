"""Checks that find out by experiment what the accumulator does, and compare it with the claim."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from gemm_backends.conformance.causes import ACCUMULATOR, PRODUCT
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.subject import SIDES, Side, Subject
from gemm_backends.errors import AccumulatorOverflow
from gemm_backends.types import Accumulator, OverflowReport

LONGEST_K = {"cuda": 1 << 26}
LONGEST_K_ELSEWHERE = 1 << 23
"""The longest sums that are tried, by kind of device."""

PROBED_K = 1 << 15
SECONDS = 2.0
"""A longer sum is tried if, judging by the time of `PROBED_K`, it takes no longer than this."""

SIZES = ((2, 3), (32, 48))
"""Numbers of rows (n, h) for which a library may choose different kernels."""

FLOATS = {"bfloat16": 8, "float16": 11, "float32": 24}
"""Significant bits of the types in which a backend may sum."""

LARGEST_OPERAND = 1 << 23
"""The most digits of an operand for which the larger of them is tried."""


@check
def accumulator_bound(subject: Subject) -> str:
    """Longest sums of any extreme digits that fit the claimed accumulator are exact."""
    pairs, lengths = _pairs(subject), []
    longest = PROBED_K
    if any(_fitting(subject, x * y) > PROBED_K for x, y in pairs):
        longest = _longest_tried(subject)
    for x, y in pairs:
        d = _fitting(subject, x * y)
        d = d if d <= longest else max(longest // len(pairs), PROBED_K)
        if d and subject.supports(*subject.aligned((2, d, 3))):
            for a, b, what in _monotone(subject, d, x, y):
                _verify(subject, *subject.padded(a, b), f"K = {d}, digits {x} · {y}, {what}")
            lengths.append(d)
    if not lengths:
        raise NotApplicable("one product can already exceed the accumulator")
    return f"K = {', '.join(f'{d:,}' for d in lengths)}"


def _monotone(subject: Subject, d: int, x: int, y: int) -> Iterator[tuple[Tensor, Tensor, str]]:
    """Yield operands none of whose partial sums is larger than that of all digits x and y."""
    a, b = subject.full("a", 2, d, x), subject.full("b", 3, d, y)
    yield a, b, "in every entry"
    less_a, less_b = a.clone(), b.clone()
    for digits in (less_a, less_b):
        digits[:, 1:d:3] -= digits.sign()[:, 1:d:3]
    yield less_a, less_b, "in most entries"
    few_a, few_b = a.clone(), b.clone()
    few_a[1:, ::2] = 0
    few_b[:1, 1::3], few_b[2:, ::3] = 0, 0
    yield few_a, few_b, "in every entry of one row of A and of B, and in some of the others"
    for n, h in SIZES[1:]:
        if max(n, h) * d <= LARGEST_OPERAND:
            what = f"in every entry of {n} rows of A and {h} of B"
            yield subject.full("a", n, d, x), subject.full("b", h, d, y), what


@check
def accumulator_overflow(subject: Subject) -> str:
    """One step over the bound, a sum wraps, saturates or raises as claimed."""
    claimed = subject.accumulator
    _require_claim(subject)
    tried = 0
    for (x, y), (n, h) in itertools.product(_pairs(subject), SIZES):
        d = _fitting(subject, x * y) + 1
        if tried == 0:
            _require(subject, d)
        elif d > PROBED_K and d > _longest_tried(subject):
            continue
        a, b = _constant(subject, d, x, y, n, h)
        if max(n, h) * d > LARGEST_OPERAND or not _taken(subject, a, b):
            continue
        tried += 1
        total = d * x * y
        found = _behaviour(subject, a, b, total)
        if found != _CLAIMS[claimed.overflow]:
            raise CheckFailed(
                f"a {claimed.bits}-bit accumulator that {_CLAIMS[claimed.overflow]} is claimed; "
                f"for [{n}, {d}] x [{h}, {d}] of digits {x} · {y}, where the sum is {total}, "
                f"it {found}",
                PRODUCT,
            )
    return f"it {_CLAIMS[claimed.overflow]}"


@check
def accumulator_partial_sums(subject: Subject) -> str:
    """Partial sums that leave the range wrap, saturate or raise even if the total fits."""
    claimed = subject.accumulator
    _require_claim(subject)
    pairs = _pairs(subject)
    if all(x * y > 0 for x, y in pairs):
        raise NotApplicable("no product is negative, so that no sum falls again")
    if _longest(subject, 1) == 0:
        raise NotApplicable("one product can already exceed the accumulator")
    says = {"wrap": "wraps in any order", "error": "raises", "saturate": ""}[claimed.overflow]
    tried = 0
    for there, back in itertools.product(pairs, pairs):
        step, return_step = (abs(x * y) for x, y in (there, back))
        if there[0] * there[1] * back[0] * back[1] > 0:
            continue
        over = 2 * (_fitting(subject, there[0] * there[1]) + 1)
        steps_back = 3 * over * step // (4 * return_step)
        if tried == 0:
            _require(subject, over + steps_back)
        elif over + steps_back > PROBED_K and over + steps_back > _longest_tried(subject):
            continue
        tried += 1
        a, b = _two_parts(subject, there, over, back, steps_back)
        found = _way_back(subject, a, b, there, over, back, steps_back)
        says = says if claimed.overflow != "saturate" else found
    return f"it {says}"


def _two_parts(
    subject: Subject, first: tuple[int, int], long: int, then: tuple[int, int], more: int
) -> tuple[Tensor, Tensor]:
    """Return operands of as many digits of one pair, and then as many of another."""
    a = subject.full("a", 2, long + more, first[0])
    b = subject.full("b", 3, long + more, first[1])
    a[:, long:], b[:, long:] = then
    return subject.padded(a, b)


def _way_back(
    subject: Subject,
    a: Tensor,
    b: Tensor,
    there: tuple[int, int],
    over: int,
    back: tuple[int, int],
    steps_back: int,
) -> str:
    """Require that a sum which leaves the range and returns does as claimed, and say what."""
    claimed = subject.accumulator
    step, return_step = there[0] * there[1], back[0] * back[1]
    peak = over * step
    total = peak + steps_back * return_step
    what = (
        f"the sum goes to {peak} by {over} products {there[0]} · {there[1]} and back to {total} "
        f"by {steps_back} of {back[0]} · {back[1]}"
    )
    if claimed.overflow == "wrap":
        subject.verify(a, b, what)
        return "wraps"
    if claimed.overflow == "error":
        found = _behaviour(subject, a, b, total)
        if found != _CLAIMS["error"]:
            raise CheckFailed(f"{what}, which does not raise: it {found}", PRODUCT)
        return "raises"
    sign = 1 if step > 0 else -1
    end = claimed.maximum if sign > 0 else claimed.minimum
    result = int(subject.backend.multiply(a, b)[0, 0])
    stepwise = _saturated(end + steps_back * return_step, claimed)
    if result == total:
        message = f"{what}: got that; saturation at every step gives {stepwise}"
        raise CheckFailed(message, PRODUCT)
    if not sign * stepwise <= sign * result < sign * total:
        message = f"{what}: got {result}; saturation at every step gives {stepwise}"
        raise CheckFailed(message, PRODUCT)
    return "saturates " + ("at every step" if result == stepwise else "every few steps")


@check
def overflow_report(subject: Subject) -> str:
    """`matmul_report` gives the same product, and counts overflows only where there are some."""
    if _longest(subject, 1):
        a, b = _extremes(subject, 1, 1)
    else:
        a, b = subject.random(*subject.aligned((2, 0, 3)))
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
    """Return the largest magnitude of a product of this sign; 0 if there is none."""
    x, y = subject.extremes(sign)
    return max(sign * x * y, 0)


def _longest(subject: Subject, sign: int) -> int:
    """Return how many such products fit the accumulator together."""
    step = _step(subject, sign)
    return _fitting(subject, sign * step) if step else 0


def _fitting(subject: Subject, step: int) -> int:
    """Return how many products of this value, which is not 0, fit the accumulator together."""
    limit = subject.accumulator.maximum if step > 0 else -subject.accumulator.minimum
    return limit // abs(step)


def _pairs(subject: Subject) -> list[tuple[int, int]]:
    """Return the pairs of extreme digits whose product is not 0, the largest one first."""
    pairs = [(x, y) for x, y in subject.ends() if x * y]
    return sorted(pairs, key=lambda pair: -pair[0] * pair[1])


def _extremes(subject: Subject, d: int, sign: int, n: int = 2, h: int = 3) -> tuple[Tensor, Tensor]:
    """Return operands of d such products a sum, zeros appended where the alignment needs them."""
    return _constant(subject, d, *subject.extremes(sign), n, h)


def _constant(
    subject: Subject, d: int, x: int, y: int, n: int = 2, h: int = 3
) -> tuple[Tensor, Tensor]:
    """Return operands whose digits are all x and all y."""
    return subject.padded(subject.full("a", n, d, x), subject.full("b", h, d, y))


def _taken(subject: Subject, a: Tensor, b: Tensor) -> bool:
    (n, d), h = a.shape, len(b)
    return subject.supports(n, d, h)


def _longest_tried(subject: Subject) -> int:
    """Return the longest sum that takes a few seconds, by the time that a short one takes."""
    a, b = _extremes(subject, PROBED_K, 1)
    if not _taken(subject, a, b):
        return PROBED_K
    seconds = []
    for _ in range(2):  # the first call may compile
        start = time.perf_counter()
        try:
            subject.backend.multiply(a, b).cpu()
        except AccumulatorOverflow:
            return PROBED_K
        seconds.append(time.perf_counter() - start)
    limit = LONGEST_K.get(torch.device(subject.device).type, LONGEST_K_ELSEWHERE)
    return min(limit, max(PROBED_K, int(PROBED_K * SECONDS / min(seconds))))


def _require_claim(subject: Subject) -> None:
    if subject.accumulator.overflow == "undefined":
        raise NotApplicable("it claims nothing about sums that do not fit")


def _require(subject: Subject, d: int) -> None:
    if d > PROBED_K and d > (longest := _longest_tried(subject)):
        raise NotApplicable(f"an overflow takes K = {d:,}, and only up to {longest:,} is tried")
    if not subject.supports(*subject.aligned((2, d, 3))):
        raise NotApplicable(f"supports() refuses K = {d:,}, where it would overflow")


def _verify(subject: Subject, a: Tensor, b: Tensor, what: str) -> None:
    """Verify a product of long sums; say what accumulator a wrong one points to."""
    try:
        subject.verify(a, b, what)
    except CheckFailed as failure:
        words, cause = _identified(subject, a, b)
        raise CheckFailed(f"{failure}{words}", cause) from failure


def _identified(subject: Subject, a: Tensor, b: Tensor) -> tuple[str, str]:
    """Name the accumulator that is narrower than claimed, or the rounding, if it is either.

    Returns
    -------
    tuple of str
        Words for the message, and the cause. A backend that multiplies two digits wrongly is not
        asked about its accumulator: any sum that it gives would look like some register's.
    """
    if wrong := _wrong_digit_product(subject):
        return f"; its accumulator cannot be told, as {wrong}", PRODUCT
    for bits in range(2, subject.accumulator.bits):
        register = Accumulator(bits, "wrap")
        d = register.maximum // _step(subject, 1) + 1
        total = d * _step(subject, 1)
        if _total(subject, d - 1) != total - _step(subject, 1):
            continue
        value = _total(subject, d)
        for does, result in (
            ("wraps", _wrapped(total, register)),
            ("saturates", _saturated(total, register)),
        ):
            if value == result != total:
                words = f"; it behaves as a {bits}-bit accumulator that {does}: {_NARROW}"
                return words, ACCUMULATOR
    found, expected = subject.backend.multiply(a, b).cpu().to(torch.int64), subject.expected(a, b)
    ends = {subject.accumulator.minimum, subject.accumulator.maximum}
    if found.ne(expected).any() and set(found[found != expected].tolist()) <= ends:
        return "; it saturates on the way to a sum that fits", ACCUMULATOR
    if words := _missing_products(subject, a.shape[1]):
        return words, PRODUCT
    if words := _rounded_like_a_float(subject, a.shape[1]):
        return words, ACCUMULATOR
    return _not_the_width(subject, a.shape[1]), PRODUCT


_NARROW = (
    "claim that, or, if sums have more bits, look for a narrower type on their way to the result"
)


def _not_the_width(subject: Subject, d: int) -> str:
    """Say what a wrong long sum may come from if no narrower accumulator explains it."""
    found = int(subject.backend.multiply(*_constant(subject, d, 1, 1))[0, 0])
    if found != d:
        return (
            f"; {d} products of 1 give {found}, too: what is wrong is how a sum of this length is "
            "cut or read, and not the width of its accumulator"
        )
    return (
        f"; {d} products of 1 are right, and no narrower accumulator gives this sum: it may be "
        "clipped, pass through a narrower type on its way to the result, or hold products or "
        "corrections of other operands"
    )


def _rounded_like_a_float(subject: Subject, d: int) -> str:
    """Say which float the sums of a backend look like, if every one has no more bits than that.

    The digits are odd ones at random, so that exact sums have bits to the last; an error of
    integers, however small it is, leaves such bits too.
    """
    generator = torch.Generator().manual_seed(d)

    def odd(side: Side, rows: int) -> Tensor:
        high = subject.highest(side)
        digits = torch.randint(high // 2, high + 1, (rows, d), generator=generator, device="cpu")
        return subject.digits(side, digits | 1)

    a, b = subject.padded(odd("a", 4), odd("b", 5))
    found, expected = subject.backend.multiply(a, b)[:4, :5], subject.expected(a, b)[:4, :5]
    if len(set(found.flatten().tolist())) < found.numel() // 2:
        return ""  # not a value for each sum
    most, exact = (max(map(_significant_bits, x.flatten().tolist())) for x in (found, expected))
    for name, bits in FLOATS.items():
        if most <= bits < exact:
            return (
                f"; none of {found.numel()} sums of random digits has more than {most} significant "
                f"bits, exact ones have up to {exact}: it rounds as {name} does"
            )
    return ""


def _significant_bits(value: int) -> int:
    return (value // (value & -value)).bit_length() if value else 0


def _missing_products(subject: Subject, d: int) -> str:
    """Say how many products of a sum are left out, if that is what is wrong with it.

    A rounded sum lacks another number of products when these are small than when they are large.
    """
    largest = _step(subject, 1)
    lacking = divmod(d * largest - _total(subject, d), largest)
    ones = d - int(subject.backend.multiply(*_constant(subject, d, 1, 1))[0, 0])
    if lacking != (ones, 0) or not 0 < ones < d:
        return ""
    return (
        f"; {ones} of the {d} products are missing, large or small: what is wrong is how K is cut "
        "into tiles, and not the accumulator"
    )


def _total(subject: Subject, d: int) -> int:
    """Return what the backend gives for the sum of d of the largest products."""
    return int(subject.backend.multiply(*_extremes(subject, d, 1))[0, 0]) if d else 0


def _wrong_digit_product(subject: Subject) -> str:
    """Describe a product of two extreme digits that is wrong on its own, if there is one."""
    for x, y in itertools.product(*((subject.lowest(s), subject.highest(s)) for s in SIDES)):
        a, b = subject.padded(subject.full("a", 1, 1, x), subject.full("b", 1, 1, y))
        if not _taken(subject, a, b):
            continue
        found = int(subject.backend.multiply(a, b)[0, 0])
        if found != (expected := int(subject.expected(a, b)[0, 0])):
            return f"the product of two digits is wrong already: {x} · {y} gives {found}, " + (
                f"expected {expected}"
            )
    return ""


def _behaviour(subject: Subject, a: Tensor, b: Tensor, total: int) -> str:
    """Describe the result of a sum that exceeds the accumulator's range."""
    claimed = subject.accumulator
    try:
        product = subject.backend.multiply(a, b)
    except AccumulatorOverflow:
        return _CLAIMS["error"]
    rows, columns = (int(operand.any(1).sum()) for operand in (a, b))
    values = set(product[:rows, :columns].flatten().tolist())
    wrapped = _wrapped(total, claimed)
    if values == {total} and total != wrapped:
        return "gives the exact sum: it is wider than claimed"
    if values == {wrapped}:
        return _CLAIMS["wrap"]
    if values == {_saturated(total, claimed)}:
        return _CLAIMS["saturate"]
    return f"gives {min(values)}, which is neither wrapped, nor saturated, nor exact"


def _wrapped(total: int, register: Accumulator) -> int:
    return (total - register.minimum) % (1 << register.bits) + register.minimum


def _saturated(total: int, register: Accumulator) -> int:
    return min(max(total, register.minimum), register.maximum)


CHECKS = (accumulator_bound, accumulator_overflow, accumulator_partial_sums, overflow_report)
