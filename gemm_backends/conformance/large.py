"""The check of products of which one dimension, or several, are large."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from time import monotonic

from gemm_backends.conformance.check import NotApplicable, check
from gemm_backends.conformance.shrinking import verify_and_shrink
from gemm_backends.conformance.subject import Shape, Subject

FEW = (5, 7)
"""The sizes of the two other dimensions where one is large; neither is a multiple of a block's."""

FIRST: tuple[Shape, ...] = ((2049, *FEW), (*FEW, 2049), (131, 24, 260))
"""By the time that these take, larger ones are tried or left out."""

EVERY_REST = range(2047, 2062)
"""Sizes with every remainder by blocks of 2 to 14 rows or columns."""

BLOCKS = (2304, 3072, 4096, 8192)
"""Multiples of 32, 48, 64, 96 and 128; their neighbours leave one row too many or lack one."""

LONGEST = 16_411
"""A prime."""

SEVERAL: tuple[Shape, ...] = ((2051, 24, 130), (130, 24, 2051), (257, 1031, 263), (2053, 67, 2111))
"""Shapes of which two dimensions or all three are large, the one with most products last."""

SECONDS = 2.0
"""A product is left out if, judging by the fastest one before it, it takes longer than this."""

ALL_SECONDS = 5.0
"""No further product is begun after this."""


@check
def large_products(subject: Subject) -> str:
    """Products with n or h beyond 2048 are exact, whatever is left over by usual blocks."""
    shapes = dict.fromkeys(map(subject.aligned, (*FIRST, *SEVERAL, *_one_large())))
    taken = [shape for shape in shapes if subject.supports(*shape)]
    if not taken:
        raise NotApplicable("supports() refuses all of these shapes")
    fastest, deadline = 0.0, monotonic() + ALL_SECONDS
    tried: list[Shape] = []
    for n, d, h in taken:
        if n * d * h * fastest > SECONDS or (tried and monotonic() > deadline):
            continue
        start = monotonic()
        a, b = subject.random(n, d, h)
        verify = verify_and_shrink if min(n, h) <= max(FEW) else Subject.verify
        verify(subject, a, b, f"[{n}, {d}] x [{h}, {d}], random digits")
        rate = (monotonic() - start) / (n * d * h)
        fastest = min(fastest, rate) if tried else rate
        tried.append((n, d, h))
    left_out = f"; {len(taken) - len(tried)} more take too long" if len(tried) < len(taken) else ""
    largest = " x ".join(map(str, max(tried, key=prod)))
    return f"{len(tried)} shapes, the largest {largest}{left_out}"


def _one_large() -> Iterator[Shape]:
    """Yield shapes of which n, or h, is large."""
    few, d = FEW
    neighbours = [block + beside for block in BLOCKS for beside in (-1, 0, 1)]
    for size in (*EVERY_REST, *neighbours, LONGEST):
        yield size, d, few
        yield few, d, size


CHECKS = (large_products,)
