"""Checks that products are exact for all shapes and digits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from accelsim.plugins.extras import how_to_install
from gemm_backends.conformance.causes import raised
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.shrinking import verify_and_shrink
from gemm_backends.conformance.subject import Shape, Subject
from gemm_backends.types import Tile

SMALL = tuple(itertools.product((1, 2, 3), (1, 2, 3), (1, 2, 3)))
ODD = ((7, 13, 5), (1, 127, 31), (31, 1, 127), (17, 31, 23), (61, 127, 67), (29, 1009, 11))
TILES = (8, 16, 32, 64, 128)
LARGE_TILES = (256, 512)

UNROLLED = (3, 5, 6, 7)
"""Multiples of a tile that leave a rest where a loop over tiles takes two or four at a time."""

SEVERAL_TILES: tuple[Shape, ...] = ((129, 257, 130), (288, 352, 40), (40, 352, 288))
"""Shapes of several common tiles in two dimensions or three at once."""

EMPTY = ((0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (0, 0, 5), (5, 0, 0), (17, 0, 33))
LONG = (
    (2, 4096, 3),
    (3, 65_535, 2),
    (2, 65_537, 3),
    (1, 100_003, 1),
    (3, 131_071, 2),
    (1, (1 << 20) + 1, 2),
    *((2, int(128 * 1.2**step), 3) for step in range(38)),
)
"""Around the limits of counters, and every length up to 2^17 to within a factor of 1.2."""

RANDOM = (4, 16, 4)
"""The largest n, d and h that Hypothesis draws."""


def _exact(subject: Subject, shapes: Iterable[Shape]) -> str:
    shapes = list(dict.fromkeys(subject.aligned(shape) for shape in shapes))
    taken = [shape for shape in shapes if subject.supports(*shape)]
    if not taken:
        raise NotApplicable("supports() refuses all of these shapes")
    for n, d, h in taken:
        what = f"[{n}, {d}] x [{h}, {d}], random digits"
        verify_and_shrink(subject, *subject.random(n, d, h), what)
    refused = f"; supports() refuses {len(shapes) - len(taken)} more" if taken != shapes else ""
    return f"{len(taken)} shapes{refused}"


def _edges(tile: Tile) -> Iterable[Shape]:
    """Yield the shapes at a tile's size, and one less and one more along every dimension."""
    yield tile
    for i, j, k in itertools.product((-1, 1), repeat=3):
        yield max(tile.n + i, 0), max(tile.d + j, 0), max(tile.h + k, 0)


@check
def small_shapes(subject: Subject) -> str:
    """Products with dimensions of 1, 2 and 3 are exact."""
    return _exact(subject, SMALL)


@check
def odd_shapes(subject: Subject) -> str:
    """Products with prime dimensions are exact."""
    return _exact(subject, ODD)


@check
def tile_edges(subject: Subject) -> str:
    """Products at, beside and of odd multiples of the declared tile and common ones are exact."""
    shapes: list[Shape] = []
    for tile in dict.fromkeys((subject.backend.tile, *(Tile(t, t, t) for t in TILES[:-1]))):
        shapes += _edges(tile)
    for size in (TILES[-1], *LARGE_TILES):
        for edge in (size - 1, size, size + 1):
            shapes += [(edge, 3, 5), (3, edge, 5), (3, 5, edge)]
    for size, multiple in itertools.product(TILES, UNROLLED):
        shapes += [(multiple * size, 3, 5), (3, multiple * size, 5), (3, 5, multiple * size)]
    return _exact(subject, [*shapes, *SEVERAL_TILES])


@check
def empty_dimensions(subject: Subject) -> str:
    """Products with n, d or h of 0 have the right shape, and are zero for d = 0."""
    return _exact(subject, EMPTY)


@check
def long_sums(subject: Subject) -> str:
    """Random digits with K from 128 to beyond 2^20 are exact; their sums stay small."""
    return _exact(subject, LONG)


@check
def extreme_digits(subject: Subject) -> str:
    """Extreme digits are multiplied exactly, alone and mixed."""
    d = 24
    limit = subject.harmless_digit(d)
    ends_a, ends_b = (
        (max(subject.lowest(side), -limit), min(subject.highest(side), limit))
        for side in ("a", "b")
    )
    for x, y in itertools.product(ends_a, ends_b):
        a, b = subject.full("a", 5, d, x), subject.full("b", 6, d, y)
        verify_and_shrink(subject, *subject.padded(a, b), f"every digit of A {x}, of B {y}")
        a[::2, ::3] = ends_a[0]
        b[1::2, ::2] = ends_b[1]
        what = f"digits of A {x} and {ends_a[0]}, of B {y} and {ends_b[1]}"
        verify_and_shrink(subject, *subject.padded(a, b), what)
    if limit < -subject.lowest("a") or limit < -subject.lowest("b"):
        x, y = subject.extremes(1)
        if abs(x * y) <= subject.accumulator.maximum:
            a, b = subject.full("a", 5, 1, x), subject.full("b", 6, 1, y)
            subject.verify(*subject.padded(a, b), f"every digit of A {x}, of B {y}, K = 1")
    return f"A in {ends_a}, B in {ends_b}"


@check
def random_gemms(subject: Subject) -> str:
    """Any small product of any digits is exact (Hypothesis finds the smallest that is not)."""
    try:
        import hypothesis
        from hypothesis import strategies as st
    except ImportError:
        shapes = [(n, d, h) for n in (1, 4, 8) for d in (1, 9, 40) for h in (1, 5, 8)]
        return (
            f"{_exact(subject, shapes)}, fixed because Hypothesis is missing: "
            f"{how_to_install('test')}"
        )

    @st.composite
    def gemms(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int]:
        n, d, h = (draw(st.integers(0, most)) for most in RANDOM)
        n, d, h = subject.aligned((n, d, h))
        limit = subject.harmless_digit(d)

        def matrix(low: int, high: int, rows: int) -> list[list[int]]:
            low, high = max(low, -limit), min(high, limit)
            digit = st.integers(low, high) | st.sampled_from([low, 0, high])
            row = st.lists(digit, min_size=d, max_size=d) | digit.map(lambda value: [value] * d)
            return draw(st.lists(row, min_size=rows, max_size=rows))

        a = matrix(subject.lowest("a"), subject.highest("a"), n)
        return a, matrix(subject.lowest("b"), subject.highest("b"), h), d

    tried = 0

    @hypothesis.settings(
        max_examples=100,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(gemms())
    def exact(gemm: tuple[list[list[int]], list[list[int]], int]) -> None:
        nonlocal tried
        rows_a, rows_b, d = gemm
        if not subject.supports(len(rows_a), d, len(rows_b)):
            return
        tried += 1
        a = subject.digits("a", torch.tensor(rows_a, device="cpu").reshape(len(rows_a), d))
        b = subject.digits("b", torch.tensor(rows_b, device="cpu").reshape(len(rows_b), d))
        what = f"A = {rows_a}, B = {rows_b}"
        try:
            subject.verify(a, b, what)
        except CheckFailed:
            raise
        except Exception as error:
            message = f"{what}: raised {type(error).__name__}: {error}"
            raise CheckFailed(message, raised(error)) from error

    try:
        exact()
    except hypothesis.errors.Flaky as error:
        raise CheckFailed("a product was wrong, and right when it was repeated") from error
    if not tried:
        raise NotApplicable(f"supports() refuses every shape up to {RANDOM}")
    return f"{tried} products"


CHECKS = (
    small_shapes,
    odd_shapes,
    tile_edges,
    empty_dimensions,
    extreme_digits,
    long_sums,
    random_gemms,
)
