"""Verdict: the independent oracle and the comparison with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.arithmetic.bounds import fits_int64, largest

Wide = npt.NDArray[np.object_]

PART_BITS = 16
FLOAT64_EXACT = 2**53
"""float64 represents every integer below this exactly."""

INT64_BITS = 64


@dataclass(frozen=True)
class Mismatch:
    """An entry that differs from the oracle's.

    Parameters
    ----------
    index : tuple of int
        Where it stands, ``(batch, row, column)`` for a batch.
    expected, found : int
        The oracle's value and the backend's.
    """

    index: tuple[int, ...]
    expected: int
    found: int


@dataclass(frozen=True)
class Verdict:
    """The result of comparing a product with the oracle's.

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
        Integers ``[..., n, d]`` and ``[..., h, d]``, magnitudes below 2^62.

    Returns
    -------
    Tensor or ndarray of object
        ``A @ B.T``: int64, or Python integers where the bound does not prove that int64 is enough.

    Notes
    -----
    Each operand is cut into parts of 16 bits whose float64 products are exact: every partial sum of
    at most 2^20 of them stays below 2^53, in any order of summation.

    Examples
    --------
    >>> import torch
    >>> from accelsim.arithmetic.oracle import compare, oracle
    >>> a, b = torch.tensor([[100, 7]]), torch.tensor([[3, -2], [0, 1]])
    >>> oracle(a, b).tolist()
    [[286, 7]]
    >>> compare(torch.tensor([[286, 8]]), oracle(a, b)).first
    Mismatch(index=(0, 1), expected=7, found=8)
    """
    depth, largest_a, largest_b = a.shape[-1], largest(a), largest(b)
    if depth * largest_a * largest_b < FLOAT64_EXACT:
        return _float64_product(a, b)
    by_shift: dict[int, Tensor] = {}
    for x, shift_a in _parts(a, largest_a):
        for y, shift_b in _parts(b, largest_b):
            part, shift = _float64_product(x, y), shift_a + shift_b
            by_shift[shift] = by_shift[shift] + part if shift in by_shift else part
    if fits_int64(depth, largest_a, largest_b):
        # Modulo 2^64, where what is shifted further is 0.
        shifted = [part << shift for shift, part in by_shift.items() if shift < INT64_BITS]
        return torch.stack(shifted).sum(dim=0)
    wide: Wide = np.full(by_shift[0].shape, 0, dtype=object)
    for shift, part in by_shift.items():
        wide += part.cpu().numpy().astype(object) * (1 << shift)
    return wide


def compare(result: Tensor | Wide, expected: Tensor | Wide) -> Verdict:
    """Compare every integer of a product with the oracle's.

    Parameters
    ----------
    result : Tensor or Wide
        What is judged.
    expected : Tensor or Wide
        The oracle's product, of the same shape.

    Returns
    -------
    Verdict
        How many integers differ, by how much at most, and the first that does.
    """
    if isinstance(result, Tensor) and isinstance(expected, Tensor):
        expected = expected.to(result.device)
        wrong = result != expected
        count = int(wrong.sum())
        if count == 0:
            return Verdict(0, 0)
        index = tuple(int(i) for i in wrong.nonzero()[0])
        first = Mismatch(index, int(expected[index]), int(result[index]))
        return Verdict(count, _largest_difference(result[wrong], expected[wrong]), first)
    found, right = _objects(result), _objects(expected)
    difference = np.abs(found - right)
    places = np.argwhere(difference != 0)
    if not len(places):
        return Verdict(0, 0)
    index = tuple(int(i) for i in places[0])
    first = Mismatch(index, int(right[index]), int(found[index]))
    return Verdict(len(places), int(difference.max()), first)


def _largest_difference(found: Tensor, right: Tensor) -> int:
    """Return the largest difference, which may be anything below 2^64.

    Modulo 2^64 it is exact as an unsigned number; those are ordered as signed ones whose first bit
    is inverted.
    """
    found, right = found.to(torch.int64), right.to(torch.int64)
    lowest = torch.iinfo(torch.int64).min
    ordered = (torch.maximum(found, right) - torch.minimum(found, right)) ^ lowest
    return int(ordered.max()) - lowest


def _objects(values: Tensor | Wide) -> Wide:
    return values.cpu().numpy().astype(object) if isinstance(values, Tensor) else values


def _parts(values: Tensor, largest: int) -> list[tuple[Tensor, int]]:
    """Cut integers into unsigned parts of 16 bits and a signed last one, each with its shift."""
    integers = values.to(torch.int64)
    last = largest.bit_length() // PART_BITS
    parts = [(integers >> (PART_BITS * i) & (2**PART_BITS - 1), PART_BITS * i) for i in range(last)]
    return [*parts, (integers >> (PART_BITS * last), PART_BITS * last)]


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
