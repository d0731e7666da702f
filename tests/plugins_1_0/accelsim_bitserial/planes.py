"""Bit-planes of digits, and the products of planes by AND and popcount."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from torch import Tensor

WORD = 64
"""Digits of one bit each in a word."""


@dataclass(frozen=True)
class Planes:
    """One operand, bit by bit.

    Parameters
    ----------
    words : array
        ``[bits, rows, words]`` uint64: bit k of a row's words is that bit of its k-th digit. The
        last words are padded with zeros.
    """

    words: npt.NDArray[np.uint64]

    def of_width(self, bits: int) -> npt.NDArray[np.uint64]:
        """Return the lower planes, which say everything if the others repeat the sign.

        Raises
        ------
        ValueError
            If they do not, so that a digit is wider than `bits`.
        """
        if (self.words[bits:] != self.words[bits - 1]).any():
            raise ValueError(f"a digit does not fit {bits} bits")
        return self.words[:bits]


def to_planes(digits: Tensor, bits: int) -> Planes:
    """Cut digits ``[rows, d]`` in two's complement into `bits` planes.

    Raises
    ------
    ValueError
        If a digit does not fit.
    """
    values = digits.numpy()
    limit = 1 << (bits - 1)
    if values.size and (values.min() < -limit or values.max() >= limit):
        raise ValueError(
            f"digits from {values.min()} to {values.max()} do not fit {bits} bits, "
            f"which hold {-limit} to {limit - 1}"
        )
    rows, d = values.shape
    padded = np.zeros((rows, -(-d // WORD) * WORD), values.dtype)
    padded[:, :d] = values
    planes = [np.packbits((padded >> bit) & 1, axis=1, bitorder="little") for bit in range(bits)]
    return Planes(np.ascontiguousarray(np.stack(planes)).view(np.uint64))


@numba.njit(cache=True, nogil=True)
def product(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Multiply planes ``[bits_a, n, words]`` by ``[bits_b, h, words]`` into ``[n, h]`` int64.

    Plane i weighs 2**i, and the uppermost one, of the signs, -2**i.
    """
    bits_a, n, words = a.shape
    bits_b, h, _ = b.shape
    result = np.zeros((n, h), np.int64)
    for i in range(n):
        for j in range(h):
            total = 0
            for p in range(bits_a):
                for q in range(bits_b):
                    ones = 0
                    for w in range(words):
                        ones += _popcount(a[p, i, w] & b[q, j, w])
                    negative = (p == bits_a - 1) != (q == bits_b - 1)
                    total += -(ones << (p + q)) if negative else ones << (p + q)
            result[i, j] = total
    return result


@numba.njit(cache=True, nogil=True, inline="always")
def _popcount(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Count the ones of a word: in pairs, fours and bytes, and the bytes by a multiplication."""
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
