"""SCALE-Sim's buffers, cycle by cycle: two rings that are filled in one fixed order, and a drain.

SCALE-Sim 3 prefetches an operand in the order of its own fetch matrix, whatever the array asks for:
a ring of lines, of which half is in reach. A word out of reach makes the window move on, a burst at
a time, until the ring has come round to it. No closed form gives the waits, but a clock asks for
neighbours in that order alone, so that a clock takes a few steps here however wide the array is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gemm_backends.cost.cycles import Dataflow

LINES = 100
"""Number of lines of a ring."""

Integers = npt.NDArray[np.int64]


class Played(NamedTuple):
    """What SCALE-Sim reports of one GEMM.

    Parameters
    ----------
    stall_cycles : int
        Clocks in which the array waits.
    a, b : int
        Words read from DRAM; a burst counts in full.
    c : int
        Words written to DRAM.
    """

    stall_cycles: int
    a: int
    b: int
    c: int


def play(
    dataflow: Dataflow,
    rows: int,
    columns: int,
    n: int,
    d: int,
    h: int,
    sizes: tuple[int, int, int],
    bandwidth: int,
) -> Played:
    """Play ``[n, d] x [h, d] -> [n, h]`` on SCALE-Sim's memories.

    Parameters
    ----------
    dataflow : str
        What stays in place.
    rows, columns : int
        R and C.
    n, d, h : int
        At least 1 each.
    sizes : tuple of int
        Words that the buffers of A, B and C hold, two each at least.
    bandwidth : int
        Words per clock to and from DRAM, for A, for B and for C each.
    """
    if dataflow == "output-stationary":
        down, across, streamed, left = n, h, d, 0
        first = _diagonal(n, d, rows)
        second = _diagonal(h, d, columns)
    elif dataflow == "weight-stationary":
        down, across, streamed, left = d, h, n, 0
        first = _diagonal(d, n, rows)
        second = _resident(d, h, columns)
    else:
        down, across, streamed, left = d, n, h, 1
        first = _diagonal(d, h, rows)
        second = _resident(d, n, columns)
    by_row, by_column = sizes[left], sizes[1 - left]
    found = _play(
        dataflow == "output-stationary",
        (rows, columns, down, across, streamed),
        first.places,
        second.places,
        _ring(first, by_row, bandwidth),
        _ring(second, by_column, bandwidth),
        sizes[2],
        bandwidth,
    )
    waited, read_by_row, read_by_column, written = (int(value) for value in found)
    reads = (read_by_row, read_by_column)
    return Played(waited, reads[left], reads[1 - left], written)


class _Order(NamedTuple):
    """The order in which an operand is fetched: where each diagonal starts, and all its slots.

    A slot holds a word, or nothing for an empty lane of the last fold.
    """

    places: Integers
    slots: int


def _diagonal(length: int, depth: int, lanes: int) -> _Order:
    """Return the order of an operand that enters skewed.

    The operand's folds, `depth` rows of `lanes`, lie one below the other; words are counted along
    the diagonals, without the empty lanes of the last fold.
    """
    folds = -(-length // lanes)
    used = length - (folds - 1) * lanes
    rows = folds * depth
    diagonals = np.arange(rows + lanes, dtype=np.int64)
    first = np.maximum(0, diagonals - rows + 1)
    last = np.minimum(diagonals, lanes - 1)
    empty = np.minimum(last, diagonals - (folds - 1) * depth) - np.maximum(first, used) + 1
    words = np.maximum(0, last - first + 1) - np.maximum(0, empty)
    return _Order(np.concatenate(([0], np.cumsum(words))), rows * lanes)


def _resident(depth: int, length: int, lanes: int) -> _Order:
    """Return the order of an operand that stays in place: row by row of each fold."""
    words = np.array([0, depth * length], np.int64)
    return _Order(words, depth * -(-length // lanes) * lanes)


def _ring(order: _Order, size: int, bandwidth: int) -> Integers:
    """Return a ring: its sizes, and its state.

    In order: words of a line, lines, lines in reach, lines that a burst brings, clocks and words of
    a burst; then where its window starts, its clock, the words read, and two places between which
    all words are in reach.
    """
    reach = -(-size // 2)
    ahead = size - reach
    line = -(-size // LINES)
    lines = int(order.places[-1]) // line + 1
    window = min(lines, -(-reach // line))
    step = min(lines - window, -(-ahead // line))
    burst = -(-ahead // bandwidth)
    first = min(-(-reach // bandwidth), -(-order.slots // bandwidth))
    read = first * bandwidth
    return np.array([line, lines, window, step, burst + 1, burst * bandwidth, 0, -1, read, 0, 0])


@njit(cache=True, nogil=True)
def _play(stays, shape, streamed_places, other_places, by_row, by_column, size, bandwidth):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, columns, down, across, streamed = shape
    folds, turns = -(-down // rows), -(-across // columns)
    last_height, last_width = down - (folds - 1) * rows, across - (turns - 1) * columns
    load = 0 if stays else rows
    out = streamed - 1 if stays else 2 * rows - 1
    leaving = rows if stays else streamed
    clocks = load + rows + columns + streamed - 2
    drain = np.zeros(8, np.int64)
    drain[:3] = size, size, size // 2
    words = turns * folds * leaving * columns
    fills = np.zeros(words // bandwidth + words // drain[2] + 16, np.int64)
    clock, waited = 0, 0
    for turn in range(turns):
        width = columns if turn < turns - 1 else last_width
        for fold in range(folds):
            height = rows if fold < folds - 1 else last_height
            empty = rows - height
            for t in range(clocks):
                now = clock + waited
                clock += 1
                at = t - load
                low, high = _skewed(
                    streamed_places, fold, folds, at, streamed, height, rows, last_height
                )
                stall = max(0, _ask(by_row, low, high, now))
                if stays:
                    low, high = _skewed(
                        other_places, turn, turns, t, streamed, width, columns, last_width
                    )
                    stall = max(stall, _ask(by_column, low, high, now))
                elif empty <= t < rows:
                    low = turn * down * columns + (fold * rows + rows - 1 - t) * width
                    stall = max(stall, _ask(by_column, low, low + width, now))
                least = max(0, t - out - leaving + 1)
                most = min(width - 1, t - out - empty * stays)
                if least <= most:
                    stall = max(stall, _write(drain, fills, most - least + 1, now, bandwidth))
                waited += stall
    _close_line(drain, fills)
    while drain[5] < drain[4]:
        _drain(drain, fills, 0, bandwidth)
    return waited, by_row[8], by_column[8], drain[7]


@njit(cache=True, nogil=True)
def _skewed(places, fold, folds, t, depth, used, lanes, last_used):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the first place, and the one behind the last, of what a fold takes at its clock t."""
    low, high = max(0, t - depth + 1), min(t, used - 1)
    if low > high:
        return 0, 0
    diagonal = fold * depth + t
    first = max(0, diagonal - folds * depth + 1)
    empty = min(low, diagonal - (folds - 1) * depth + 1) - max(first, last_used)
    place = places[diagonal] + low - first - max(0, empty)
    return place, place + high - low + 1


@njit(cache=True, nogil=True)
def _ask(ring, low, high, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the clocks until words ``low <= place < high`` are there; the window may move on.

    A burst that is late by some clocks delays those behind it by twice as many, as in SCALE-Sim.
    """
    if low >= high or (ring[9] <= low and high <= ring[10]):
        return 0
    line, lines, window, step = ring[0], ring[1], ring[2], ring[3]
    offset, wanted = 1, 0
    for wanted in range(low // line, (high - 1) // line + 1):
        while (wanted - ring[6]) % lines >= window:
            ring[6] = (ring[6] + step) % lines
            ring[7] += ring[4]
            ring[8] += ring[5]
            late = ring[7] - (now + offset)
            offset += 2 * late if late > 0 else late
    ring[9], ring[10] = wanted * line, (wanted + 1) * line
    return offset - 1


@njit(cache=True, nogil=True)
def _write(drain, fills, count, now, bandwidth):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the clocks that sums wait for room; a buffer that is half full begins to drain.

    `drain` holds: size, words free, half of the size, words of the open line, lines, lines that
    have left, the clock at which the drain ends, and the words that have left.
    """
    moment, room = now, 0 if now < drain[6] else drain[0] - drain[2] - 1
    if drain[1] - count > room:
        drain[1] -= count
        drain[3] += count
        while drain[3] >= bandwidth:
            fills[drain[4]] = bandwidth
            drain[4] += 1
            drain[3] -= bandwidth
        return 0
    for _ in range(count):
        drain[1] -= 1
        drain[3] += 1
        if drain[3] == bandwidth:
            _close_line(drain, fills)
        if moment < drain[6]:
            if drain[1] <= 0:
                moment = drain[6]
        elif drain[1] < drain[0] - drain[2]:
            _close_line(drain, fills)
            _drain(drain, fills, moment, bandwidth)
    return moment - now


@njit(cache=True, nogil=True)
def _close_line(drain, fills):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if drain[3]:
        fills[drain[4]] = drain[3]
        drain[4] += 1
        drain[3] = 0


@njit(cache=True, nogil=True)
def _drain(drain, fills, moment, bandwidth):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Let half of the buffer leave; only its last line may count as partly filled."""
    end = min(drain[4], drain[5] + -(-drain[2] // bandwidth))
    lines = end - drain[5]
    words = (lines - 1) * bandwidth + fills[end - 1]
    drain[1] += words
    drain[7] += words
    drain[6] = moment + lines - 1
    drain[5] = end
