"""Reduce a wrong product to the smallest one that is wrong in the same way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from torch import Tensor

from gemm_backends.conformance.causes import raised
from gemm_backends.conformance.check import CheckFailed
from gemm_backends.conformance.subject import Subject

Wrong = Callable[[Tensor, Tensor], bool]

LINEAR = 160
"""Sizes up to this are tried one by one, larger ones around powers of two and by halving."""

FEW = 24
"""Digits of operands whose digits are made simpler too."""


def verify_and_shrink(subject: Subject, a: Tensor, b: Tensor, what: str) -> None:
    """Verify a product; if it is wrong, find the smallest corner of the operands that is wrong.

    Parameters
    ----------
    subject : Subject
        The backend.
    a, b : Tensor
        Digits ``[n, d]`` and ``[h, d]``.
    what : str
        The operands in words.

    Raises
    ------
    CheckFailed
        If the product is wrong; the message has the smallest GEMM too.
    """
    try:
        subject.verify(a, b, what)
    except CheckFailed as failure:
        message = f"{failure}; {_smallest(subject, a, b)}"
        raise CheckFailed(message, failure.cause) from failure
    except Exception as error:
        smallest = _smallest(subject, a, b)
        message = f"{what}: raised {type(error).__name__}: {error}; {smallest}"
        raise CheckFailed(message, raised(error)) from error


def _smallest(subject: Subject, a: Tensor, b: Tensor) -> str:
    def wrong(x: Tensor, y: Tensor) -> bool:
        (n, d), h = x.shape, len(y)
        return subject.supports(n, d, h) and bool(_error(subject, x, y))

    if not wrong(a, b):
        return "the next time it was right"
    for _ in range(2):  # a smaller n may allow a smaller d
        a, b = _cut(a, b, wrong)
    a, b = a.clone(), b.clone()
    if a.numel() and b.numel() and a.numel() + b.numel() <= FEW:
        _simplify(a, b, wrong)
        what = f"A = {a.tolist()}, B = {b.tolist()}"
    else:
        what = f"[{len(a)}, {a.shape[1]}] x [{len(b)}, {b.shape[1]}]"
    return f"the smallest that is wrong: {what}: {_error(subject, a, b)}"


def _cut(a: Tensor, b: Tensor, wrong: Wrong) -> tuple[Tensor, Tensor]:
    d = _least(lambda d: wrong(a[:, :d], b[:, :d]), a.shape[1])
    x, y = a[:, :d], b[:, :d]
    n = _least(lambda n: wrong(x[:n], y), len(x))
    h = _least(lambda h: wrong(x[:n], y[:h]), len(y))
    return x[:n], y[:h]


def _least(wrong: Callable[[int], bool], size: int) -> int:
    """Return the smallest size at which it is still wrong that a quick search finds."""
    passed = 0
    for candidate in _candidates(size):
        if wrong(candidate):
            break
        passed = candidate
    else:
        candidate = size
    if candidate <= LINEAR:
        return candidate
    while candidate - passed > 1:
        middle = (passed + candidate) // 2
        passed, candidate = (passed, middle) if wrong(middle) else (middle, candidate)
    return candidate


def _candidates(size: int) -> Iterator[int]:
    yield from range(min(size, LINEAR + 1))
    for power in itertools.count(LINEAR.bit_length()):
        for candidate in ((1 << power) - 1, 1 << power, (1 << power) + 1):
            if candidate >= size:
                return
            yield candidate


def _simplify(a: Tensor, b: Tensor, wrong: Wrong) -> None:
    """Set single digits to 0, 1 or -1, in place, as long as the product stays wrong."""
    for operand in (a, b):
        for index in itertools.product(*map(range, operand.shape)):
            before = int(operand[index])
            for value in (0, 1, -1):
                operand[index] = value
                if wrong(a, b):
                    break
                operand[index] = before


def _error(subject: Subject, a: Tensor, b: Tensor) -> str:
    try:
        subject.verify(a, b, "")
    except CheckFailed as failure:
        return str(failure).removeprefix(": ")
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    return ""
