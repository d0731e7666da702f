"""Proof and verdict: overflow bounds, the independent oracle, and the comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

INT64 = 2**63
Wide = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Verdict:
    """How a product compares with the oracle's.

    Parameters
    ----------
    mismatches : int
        Entries that differ.
    max_abs_error : int
        Largest difference.
    """

    mismatches: int
    max_abs_error: int

    @property
    def exact(self) -> bool:
        """Whether every integer is equal."""
        return self.mismatches == 0


def largest(values: Tensor) -> int:
    """Return the largest magnitude, 0 for an empty tensor."""
    if values.numel() == 0:
        return 0
    return max(abs(int(values.min())), abs(int(values.max())))


def fits_int64(a: Tensor, b: Tensor) -> bool:
    """Whether the bound ``d * max|A| * max|B|`` proves that every sum fits int64."""
    return a.shape[-1] * largest(a) * largest(b) < INT64


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


def oracle(a: Tensor, b: Tensor) -> Tensor | Wide:
    """Multiply the quantized operands exactly, without digits or backends.

    Parameters
    ----------
    a, b : Tensor
        Integers ``[..., n, d]`` and ``[..., h, d]``, magnitudes below 2^31.

    Returns
    -------
    Tensor or ndarray of object
        ``A @ B.T``: int64, or Python integers where the bound does not prove that int64 is enough.

    Notes
    -----
    Each operand is cut into 16-bit halves whose float64 products are exact: every partial sum of
    at most 2^20 of them stays below 2^53, in any order of summation.
    """
    if a.shape[-1] * largest(a) * largest(b) < 2**53:
        return _float64_product(a, b)
    parts = [
        (_float64_product(x, y), shift_a + shift_b)
        for x, shift_a in _halves(a)
        for y, shift_b in _halves(b)
    ]
    if fits_int64(a, b):
        total = torch.zeros_like(parts[0][0])
        for part, shift in parts:
            total += part << shift
        return total
    wide: Wide = np.full(parts[0][0].shape, 0, dtype=object)
    for part, shift in parts:
        wide += part.cpu().numpy().astype(object) * (1 << shift)
    return wide


def compare(result: Tensor | Wide, expected: Tensor | Wide) -> Verdict:
    """Compare every integer of a product with the oracle's."""
    if isinstance(result, Tensor) and isinstance(expected, Tensor):
        wrong = result != expected.to(result.device)
        count = int(wrong.sum())
        if count == 0:
            return Verdict(0, 0)
        pairs = zip(result[wrong].tolist(), expected.to(result.device)[wrong].tolist(), strict=True)
        return Verdict(count, max(abs(x - y) for x, y in pairs))
    difference = np.abs(_objects(result) - _objects(expected))
    return Verdict(int((difference != 0).sum()), int(difference.max(initial=0)))


def _objects(values: Tensor | Wide) -> Wide:
    return values.cpu().numpy().astype(object) if isinstance(values, Tensor) else values


def _halves(values: Tensor) -> list[tuple[Tensor, int]]:
    integers = values.to(torch.int64)
    return [(integers & 0xFFFF, 0), (integers >> 16, 16)]


def _float64_product(a: Tensor, b: Tensor) -> Tensor:
    slices = range(0, max(a.shape[-1], 1), 2**20)
    return sum(
        (
            (
                a[..., k : k + 2**20].to(torch.float64) @ b[..., k : k + 2**20].to(torch.float64).mT
            ).to(torch.int64)
            for k in slices
        ),
        start=torch.zeros((*a.shape[:-1], b.shape[-2]), dtype=torch.int64, device=a.device),
    )
