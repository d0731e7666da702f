"""Count and write digits on the CPU: compiled loops that read every entry once.

Quantized operands are rounded on the way (``rint(x * s)`` in float32), so their integers are never
stored. Kernels run on ranges of rows without the GIL, on as many threads as torch uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from numba.core.types import NoneType
from numba.extending import overload
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.kernels.threads import over_lines


@dataclass(frozen=True)
class Source:
    """A matrix of integers, or of floats with the scale that makes them integers.

    Parameters
    ----------
    values : ndarray
        ``[n, d]``, int32 or float32, contiguous.
    scales : ndarray or None
        float32 ``[n]``, one per row, for float32 values.
    """

    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None


def extremes(source: Source, system: DigitSystem) -> tuple[Tensor, Tensor, int]:
    """Return the digits that each row and column needs, and how many entries need more than one.

    The number of digits grows with the value on either side of zero, so the smallest and the
    largest entry of a line tell.
    """
    n, d = source.values.shape
    rows = np.zeros((2, n), np.int32)
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
    deepest = 62 // system.shift
    carries = np.array([system.carry(splits) for splits in range(deepest + 1)], np.int64)
    # A balanced digit that is all that is left is its own low digit; one of the paper's is not.
    kept = (last & (system.name == "paper")).numpy()
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
            splits = min(level - 1, deepest)
            over_lines(_all_columns, len(rows), width, *common, splits, carries[splits])
        else:
            split = (skip + level - 1).clamp(max=deepest).numpy()
            beyond = (skip > 0).numpy()
            chosen = columns.numpy()
            over_lines(_some_columns, len(rows), width, *common, split, carries, beyond, chosen)
        start, level = start + len(rows), level + 1
    return torch.from_numpy(out)


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
    least = np.zeros(d, np.int32)
    most = np.zeros(d, np.int32)
    lowest, highest = np.int32(low), np.int32(high)
    outside = 0
    for i in range(start, stop):
        row_least = np.int32(0)
        row_most = np.int32(0)
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
    carry: Any,
) -> None:
    d = values.shape[1]
    mask = (1 << shift) - 1
    by = splits * shift
    any_kept = np.any(kept)
    for r in range(start, stop):
        i = rows[r]
        if splits == 0 and not (ends[r] and any_kept):
            for j in range(d):
                out[r, j] = ((_integer(values, scales, i, j) - lowest) & mask) + lowest
        else:
            for j in range(d):
                left = (np.int64(_integer(values, scales, i, j)) + carry) >> by
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
            left = (left + carries[splits[c]]) >> (splits[c] * shift)
            low = ((left - lowest) & mask) + lowest
            digit = left if ends[r] & kept[c] else low
            out[r, c] = 0 if beyond[c] and not ends[r] else digit
