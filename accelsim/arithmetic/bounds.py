"""Sizes: the largest entry, multiples, and bounds that prove how large sums can become."""

from __future__ import annotations

from torch import Tensor

INT64 = 2**63


def largest(values: Tensor) -> int:
    """Return the largest magnitude, 0 for an empty tensor."""
    if values.numel() == 0:
        return 0
    low, high = values.aminmax()
    return max(-int(low), int(high))


def round_up(size: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `size`."""
    return -(-size // step) * step


def fits_int64(d: int, largest_a: int, largest_b: int) -> bool:
    """Whether the bound ``d * max|A| * max|B|`` proves that every sum of a GEMM fits int64."""
    return d * largest_a * largest_b < INT64


def longest_k(accumulator_bits: int, max_a: int, max_b: int) -> int | None:
    """Return how many products of digits surely fit an accumulator; None if any number does.

    Parameters
    ----------
    accumulator_bits : int
        Width of the signed accumulator.
    max_a, max_b : int
        Largest magnitudes of the digits of A and of B.
    """
    step = max_a * max_b
    return None if step == 0 else (2 ** (accumulator_bits - 1) - 1) // step
