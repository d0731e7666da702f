"""Verdict: the independent oracle and the comparison with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.arithmetic.bounds import fits_int64, largest

Wide = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Mismatch:
    """One entry that is not what it should be.

    Parameters
    ----------
    index : tuple of int
        Where it stands, ``(batch, row, column)`` for a batch.
    expected, found : int
        What the oracle and the backend say.
    """

    index: tuple[int, ...]
    expected: int
    found: int


@dataclass(frozen=True)
class Verdict:
    """How a product compares with the oracle's.

    Parameters
    ----------
    mismatches : int
        Entries that differ.
    max_abs_error : int
        Largest difference.
    first : Mismatch or None
        The first entry that differs, in row-major order.
    """

    mismatches: int
    max_abs_error: int
    first: Mismatch | None = None

    @property
    def exact(self) -> bool:
        """Whether every integer is equal."""
        return self.mismatches == 0


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
    if fits_int64(a.shape[-1], largest(a), largest(b)):
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
        expected = expected.to(result.device)
        wrong = result != expected
        count = int(wrong.sum())
        if count == 0:
            return Verdict(0, 0)
        pairs = zip(result[wrong].tolist(), expected[wrong].tolist(), strict=True)
        index = tuple(int(i) for i in wrong.nonzero()[0])
        first = Mismatch(index, int(expected[index]), int(result[index]))
        return Verdict(count, max(abs(x - y) for x, y in pairs), first)
    found, right = _objects(result), _objects(expected)
    difference = np.abs(found - right)
    places = np.argwhere(difference != 0)
    if not len(places):
        return Verdict(0, 0)
    index = tuple(int(i) for i in places[0])
    first = Mismatch(index, int(right[index]), int(found[index]))
    return Verdict(len(places), int(difference.max()), first)


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
