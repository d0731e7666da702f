"""Approximate multipliers as tables of all their products."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.errors import InputError, unknown_name

WIDEST_TABLE = 8
"""The widest operand for which a table is kept."""

Digits = npt.NDArray[np.int64]
Widths = tuple[int, int]


@dataclass(frozen=True)
class Digit:
    """The digits of one operand.

    Parameters
    ----------
    bits : int
        Width.
    signed : bool
        Two's complement, or unsigned.
    """

    bits: int
    signed: bool = True

    @property
    def low(self) -> int:
        """The smallest digit."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest digit."""
        return self.low + (1 << self.bits) - 1

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(-self.low, self.high)

    def all(self) -> Digits:
        """Return every digit in ascending order."""
        return np.arange(self.low, self.high + 1, dtype=np.int64)


@dataclass(frozen=True)
class Table:
    """All products of a multiplier.

    Parameters
    ----------
    products : Tensor
        ``[2**bits_a, 2**bits_b]`` int32: entry ``[i, j]`` is the product of the i-th digit of A and
        the j-th digit of B in ascending order.
    source : str
        What it is, for records.
    """

    products: Tensor
    source: str

    @property
    def widths(self) -> Widths:
        """The operands' widths."""
        rows, columns = self.products.shape
        return rows.bit_length() - 1, columns.bit_length() - 1

    @property
    def largest(self) -> int:
        """The largest magnitude of a product."""
        return int(self.products.to(torch.int64).abs().max())


def is_file(multiplier: str) -> bool:
    """Return whether a multiplier is the path of a NumPy file."""
    return multiplier.endswith(".npy")


def load_table(path: str) -> Table:
    """Load a multiplier from a NumPy file.

    Raises
    ------
    InputError
        If it cannot be read, or is not a table of integers for operands of 2 to 8 bits whose
        products have a magnitude below 2**31.
    """
    try:
        found = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"multiplier {path!r} cannot be read as a NumPy file: {error}") from error
    sizes = [1 << bits for bits in range(2, WIDEST_TABLE + 1)]
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not set(found.shape) <= set(sizes):
        shape = list(found.shape) if isinstance(found, np.ndarray) else "several arrays"
        raise InputError(
            f"multiplier {path!r} must be a table [2**bits_a, 2**bits_b] for 2 to {WIDEST_TABLE} "
            f"bits, got {shape}"
        )
    if found.dtype.kind not in "iu":
        raise InputError(f"multiplier {path!r} must hold integers, got {found.dtype}")
    if max(abs(int(found.min())), abs(int(found.max()))) >= 1 << 31:
        raise InputError(f"multiplier {path!r} has a product of a magnitude of 2**31 or more")
    products = np.ascontiguousarray(found, np.int32)
    digest = hashlib.sha256(products.tobytes()).hexdigest()[:16]
    return Table(torch.from_numpy(products), f"table {Path(path).name} (sha256 {digest})")


def built_in(text: str, a: Digit, b: Digit) -> Table:
    """Make the table of a built-in approximate multiplier.

    Parameters
    ----------
    text : str
        ``truncated:columns``, ``broken-array:rows:columns`` or ``mitchell``.
    a, b : Digit
        Its operands.

    Raises
    ------
    InputError
        If there is no such multiplier, or a parameter is missing or out of range.
    """
    name, *arguments = text.split(":")
    if name not in _BUILT_IN:
        known = ["exact", *_BUILT_IN]
        raise InputError(f"{unknown_name('multiplier', name, known)}, or the path of a .npy file")
    names, make = _BUILT_IN[name]
    if len(arguments) != len(names) or not all(value.isdecimal() for value in arguments):
        wanted = ":".join([name, *(f"<{item}>" for item in names)])
        raise InputError(f"multiplier {text!r} should be {wanted}, with numbers from 0")
    products = make(a, b, *map(int, arguments))
    return Table(torch.from_numpy(products.astype(np.int32)), text)


def _mitchell(a: Digit, b: Digit) -> Digits:
    """Multiply magnitudes by adding logarithms that are linear between powers of two.

    With ``x = 2**k (1 + f)``, ``log2 x`` is taken as ``k + f`` (J. N. Mitchell, Computer
    Multiplication and Division Using Binary Logarithms, IRE Trans. Electronic Computers EC-11,
    1962). What falls below the units is cut off; the sign is that of the exact product.
    """
    x, y = np.meshgrid(a.all(), b.all(), indexing="ij")
    magnitude_x, magnitude_y = np.abs(x), np.abs(y)
    power_x, power_y = (
        1 << np.log2(np.maximum(m, 1)).astype(np.int64) for m in (magnitude_x, magnitude_y)
    )
    # The sum of the fractions, in units of 1 / (power_x * power_y).
    fraction = (magnitude_x - power_x) * power_y + (magnitude_y - power_y) * power_x
    one = power_x * power_y
    product = np.where(fraction < one, one + fraction, 2 * fraction)
    signed: Digits = np.sign(x) * np.sign(y) * product
    return signed


def _truncated(a: Digit, b: Digit, columns: int) -> Digits:
    """Leave out the partial-product bits of weight below ``2**columns``."""
    return _array(a, b, 0, columns)


def _array(a: Digit, b: Digit, rows: int, columns: int) -> Digits:
    """Add up the bits of the partial-product array that are not left out.

    The array is that of Baugh and Wooley (IEEE Trans. Computers C-22, 1973), in which the bits of
    negative weight are inverted and constants make up for it. Left out are its first `rows` rows
    (one per bit of B) and its lowest `columns` columns: the horizontal and the vertical break level
    of H. R. Mahdiani, A. Ahmadi, S. M. Fakhraie, C. Lucas, Bio-Inspired Imprecise Computational
    Blocks for Efficient VLSI Implementation of Soft-Computing Applications, IEEE Trans. Circuits
    and Systems I 57, 2010.
    """
    x, y = np.meshgrid(a.all(), b.all(), indexing="ij")
    width = a.bits + b.bits
    total = np.zeros_like(x)
    for j in range(b.bits):
        for i in range(a.bits):
            if j < rows or i + j < columns:
                continue
            bit = (x >> i) & (y >> j) & 1
            negative = (a.signed and i == a.bits - 1) != (b.signed and j == b.bits - 1)
            total += (1 - bit if negative else bit) << (i + j)
    for constant in _constants(a, b):
        if constant >= columns:
            total += 1 << constant
    total &= (1 << width) - 1
    if a.signed or b.signed:
        total = np.where(total >> (width - 1), total - (1 << width), total)
    return total


def _constants(a: Digit, b: Digit) -> list[int]:
    """Return the exponents of the constants that make up for the inverted bits."""
    top_a, top_b, top = a.bits - 1, b.bits - 1, a.bits + b.bits - 1
    if a.signed and b.signed:
        # -(2**(top_a + i) + ...) over the inverted bits of each side, modulo 2**(top + 1).
        return _ones((1 << top_a) + (1 << top_b) + (1 << top), top + 1)
    if a.signed or b.signed:
        inverted_from = top_a if a.signed else top_b
        return _ones((1 << inverted_from) + (1 << top), top + 1)
    return []


def _ones(value: int, width: int) -> list[int]:
    return [i for i in range(width) if value >> i & 1]


_BUILT_IN: dict[str, tuple[tuple[str, ...], Callable[..., Digits]]] = {
    "truncated": (("columns",), _truncated),
    "broken-array": (("rows", "columns"), _array),
    "mitchell": ((), _mitchell),
}
