"""Count and write digits on the CPU: compiled loops that read every entry once.

Quantized operands are rounded on the way (``rint(x * s)`` in float32), so their integers are never
stored. Kernels run on ranges of rows without the GIL, on as many threads as torch uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from numba.core.types import NoneType
from numba.extending import overload
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.granularity import row_scales
from accelsim.arithmetic.rounding import Quantized
from accelsim.kernels.threads import over_lines
from accelsim.unpack.kernels.base import OperandKernels


@dataclass(frozen=True)
class Source:
    """A matrix of integers, or of floats with the scale that makes them integers.

    Parameters
    ----------
    values : ndarray
        ``[n, d]``, int32, int64 or float32, contiguous. Floats become int32.
    scales : ndarray or None
        float32 ``[n]``, one per row, for float32 values.
    """

    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None

    @property
    def dtype(self) -> type[np.signedinteger[Any]]:
        """The type of the integers."""
        return np.int64 if self.values.dtype == np.int64 else np.int32


class CpuKernels(OperandKernels):
    """Implements `Kernels` for an operand on the CPU.

    Quantized operands are rounded as their digits are written, so that the integers need no memory
    of their own; those beyond int32 are written out.
    """

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need."""
        return self._joined([rows for rows, _, _ in self._extremes], self.shape[:2])

    def column_levels(self) -> Tensor:
        """Return the digits that the columns need."""
        shape = self.shape[0], self.shape[2]
        return self._joined([columns for _, columns, _ in self._extremes], shape)

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""
        return tuple(outside for _, _, outside in self._extremes)

    def counts(self) -> Tensor:
        """Return the digits that each entry needs."""
        levels = max((int(rows.max()) for rows, _, _ in self._extremes if rows.numel()), default=1)
        found = [counts(source, self._system, levels) for source in self._sources]
        return self._joined(found, self.shape)

    def outside(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows, columns and values of what does not fit one digit."""
        return outside(self._sources[head], self._system)

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits."""
        return digits(self._sources[head], self._system, row_levels, columns, skip, last)

    @cached_property
    def _extremes(self) -> list[tuple[Tensor, Tensor, int]]:
        return [extremes(source, self._system) for source in self._sources]

    @cached_property
    def _sources(self) -> list[Source]:
        """The matrices of the batch as the compiled kernels read them."""
        operand = self._operand
        if not isinstance(operand, Quantized) or operand.dtype != torch.int32:
            return [Source(head.numpy(), None) for head in self._integers.contiguous()]
        scales = row_scales(operand.scale, operand.operand.shape).reshape(self.shape[:2])
        pairs = zip(
            operand.operand.reshape(self.shape).numpy(), scales.contiguous().numpy(), strict=True
        )
        return [Source(*pair) for pair in pairs]

    def _joined(self, parts: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        if len(parts) == 1:
            return parts[0].reshape(shape)
        return torch.stack(parts) if parts else torch.ones(shape, dtype=torch.int64, device="cpu")


def extremes(source: Source, system: DigitSystem) -> tuple[Tensor, Tensor, int]:
    """Return the digits that each row and column needs, and how many entries need more than one.

    The number of digits grows with the value on either side of zero, so the smallest and the
    largest entry of a line tell.
    """
    n, d = source.values.shape
    rows = np.zeros((2, n), source.dtype)
    parts = over_lines(_extremes, n, d, source.values, source.scales, *system.digits, rows)
    least, most, outside = zip(*parts, strict=True)
    columns = np.stack([np.min(least, axis=0), np.max(most, axis=0)])
    return (
        system.count(torch.from_numpy(rows)).amax(dim=0),
        system.count(torch.from_numpy(columns)).amax(dim=0),
        int(sum(outside)),
    )


def counts(source: Source, system: DigitSystem, levels: int) -> Tensor:
    """Return the digits that each entry needs, ``[n, d]`` uint8, where none needs over `levels`."""
    n, d = source.values.shape
    reaches = np.array([system.reach(level) for level in range(1, levels)], np.int64).reshape(-1, 2)
    out = np.empty((n, d), np.uint8)
    over_lines(_counts, n, d, source.values, source.scales, reaches, out)
    return torch.from_numpy(out)


def outside(source: Source, system: DigitSystem) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows, columns and values of the entries that do not fit one digit, row by row."""
    n, d = source.values.shape
    in_row = np.empty(n, np.int64)
    bounds = source.values, source.scales, *system.digits
    over_lines(_count_outside, n, d, *bounds, in_row)
    ends = np.cumsum(in_row)
    found = np.empty((3, int(ends[-1]) if n else 0), np.int64)
    over_lines(_find_outside, n, d, *bounds, ends - in_row, found)
    rows, columns, values = torch.from_numpy(found)
    return rows, columns, values


def digits(
    source: Source,
    system: DigitSystem,
    row_levels: Tensor,
    columns: Tensor | None,
    skip: Tensor,
    last: Tensor,
) -> Tensor:
    """Write the matrix in digits; see `accelsim.unpack.operand.IntegerOperand.digits`."""
    kept = (last & system.keeps_last).numpy()
    width = source.values.shape[1] if columns is None else len(columns)
    out = np.empty((int(row_levels.sum()), width), np.int8 if system.bits <= 8 else np.int16)
    start, level = 0, 1
    while start < len(out):
        rows = (row_levels >= level).nonzero().squeeze(1)
        part = out[start : start + len(rows)]
        ends = (row_levels[rows] == level).numpy()
        radix = system.shift, system.low_digits[0]
        common = (source.values, source.scales, rows.numpy(), ends, kept, *radix, part)
        if columns is None:
            first, then = system.parts_of_split(level - 1)
            carries = system.carry(first), system.carry(then)
            over_lines(_all_columns, len(rows), width, *common, (first, then), carries)
        else:
            splits = _splits(system, skip.numpy() + (level - 1))
            beyond = (skip > 0).numpy()
            chosen = columns.numpy()
            over_lines(_some_columns, len(rows), width, *common, *splits, beyond, chosen)
        start, level = start + len(rows), level + 1
    return torch.from_numpy(out)


def _splits(
    system: DigitSystem, splits: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the two parts of each number of splits and their carries, both ``[2, c]``."""
    most = int(splits.max(initial=0))
    parts = np.array([system.parts_of_split(number) for number in range(most + 1)]).T
    carries = np.array([[system.carry(number) for number in row] for row in parts.tolist()])
    return parts[:, splits], carries[:, splits]


def _integer(values: Any, scales: Any, i: Any, j: Any) -> Any:
    """Return an entry as an integer; compiled code has one version for each kind of source."""
    return values[i, j] if scales is None else np.int32(np.rint(values[i, j] * scales[i]))


@overload(_integer, strict=False)
def _integer_of(values: Any, scales: Any, i: Any, j: Any) -> Any:
    if isinstance(scales, NoneType):
        return lambda values, scales, i, j: values[i, j]
    return lambda values, scales, i, j: np.int32(np.rint(values[i, j] * scales[i]))


@njit(cache=True, nogil=True)
def _extremes(
    start: Any, stop: Any, values: Any, scales: Any, low: Any, high: Any, rows: Any
) -> Any:
    d = values.shape[1]
    integer = rows.dtype.type
    least = np.zeros(d, rows.dtype)
    most = np.zeros(d, rows.dtype)
    lowest, highest = integer(low), integer(high)
    outside = 0
    for i in range(start, stop):
        row_least = integer(0)
        row_most = integer(0)
        in_row = np.int32(0)
        for j in range(d):
            value = _integer(values, scales, i, j)
            row_least = min(row_least, value)
            row_most = max(row_most, value)
            least[j] = min(least[j], value)
            most[j] = max(most[j], value)
            in_row = np.int32(in_row + np.int32((value < lowest) | (value > highest)))
        outside += int(in_row)
        rows[0, i] = row_least
        rows[1, i] = row_most
    return least, most, outside


@njit(cache=True, nogil=True)
def _counts(start: Any, stop: Any, values: Any, scales: Any, reaches: Any, out: Any) -> None:
    d = values.shape[1]
    for i in range(start, stop):
        for j in range(d):
            out[i, j] = 1
        for level in range(len(reaches)):
            low, high = reaches[level]
            for j in range(d):
                value = _integer(values, scales, i, j)
                out[i, j] += (value < low) | (value > high)


@njit(cache=True, nogil=True)
def _count_outside(
    start: Any, stop: Any, values: Any, scales: Any, low: Any, high: Any, in_row: Any
) -> None:
    for i in range(start, stop):
        outside = 0
        for j in range(values.shape[1]):
            value = _integer(values, scales, i, j)
            outside += (value < low) | (value > high)
        in_row[i] = outside


@njit(cache=True, nogil=True)
def _find_outside(
    start: Any, stop: Any, values: Any, scales: Any, low: Any, high: Any, first: Any, found: Any
) -> None:
    for i in range(start, stop):
        entry, end = first[i], first[i + 1] if i + 1 < len(first) else found.shape[1]
        if entry == end:
            continue
        for j in range(values.shape[1]):
            value = _integer(values, scales, i, j)
            if (value < low) | (value > high):
                found[0, entry], found[1, entry], found[2, entry] = i, j, value
                entry += 1


@njit(cache=True, nogil=True)
def _all_columns(
    start: Any,
    stop: Any,
    values: Any,
    scales: Any,
    rows: Any,
    ends: Any,
    kept: Any,
    shift: Any,
    lowest: Any,
    out: Any,
    splits: Any,
    carries: Any,
) -> None:
    d = values.shape[1]
    mask = (1 << shift) - 1
    by, then_by = splits[0] * shift, splits[1] * shift
    carry, then_carry = carries
    any_kept = np.any(kept)
    for r in range(start, stop):
        i = rows[r]
        if splits[0] == 0 and not (ends[r] and any_kept):
            for j in range(d):
                out[r, j] = ((_integer(values, scales, i, j) - lowest) & mask) + lowest
        else:
            for j in range(d):
                left = (np.int64(_integer(values, scales, i, j)) + carry) >> by
                left = (left + then_carry) >> then_by
                low = ((left - lowest) & mask) + lowest
                out[r, j] = left if ends[r] & kept[j] else low


@njit(cache=True, nogil=True)
def _some_columns(
    start: Any,
    stop: Any,
    values: Any,
    scales: Any,
    rows: Any,
    ends: Any,
    kept: Any,
    shift: Any,
    lowest: Any,
    out: Any,
    splits: Any,
    carries: Any,
    beyond: Any,
    columns: Any,
) -> None:
    mask = (1 << shift) - 1
    for r in range(start, stop):
        i = rows[r]
        for c in range(len(columns)):
            left = np.int64(_integer(values, scales, i, columns[c]))
            left = (left + carries[0, c]) >> (splits[0, c] * shift)
            left = (left + carries[1, c]) >> (splits[1, c] * shift)
            low = ((left - lowest) & mask) + lowest
            digit = left if ends[r] & kept[c] else low
            out[r, c] = 0 if beyond[c] and not ends[r] else digit
