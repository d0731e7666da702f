"""The tiles of a GEMM one by one, with sets for what each SRAM has: a slow reference."""

import itertools
from dataclasses import dataclass
from fractions import Fraction

DIMENSIONS = "ndh"


@dataclass
class Walked:
    """What a tile moves, in words, and how long the array takes for it.

    `passing` are unfinished sums that no SRAM holds, `behind` sums that leave when the tile is
    done.
    """

    clocks: int
    a: int
    b: int
    back: int = 0
    passing: int = 0
    behind: int = 0

    @property
    def ahead(self):
        return self.a + self.b + self.back


def folds(length, size):
    return [range(i, min(i + size, length)) for i in range(0, length, size)]


def grid(x, y):
    return set(itertools.product(x, y))


def shares(d, rows, tree, block):
    """Give each row of an array a step of the sum: up to `tree` products of one K-block."""
    steps = [step for part in folds(d, block) for step in folds(len(part), tree)]
    ends = itertools.accumulate(len(step) for step in steps)
    at = [0, *itertools.islice(ends, rows - 1, None, rows)]
    return list(itertools.starmap(range, itertools.pairwise([*at, d] if at[-1] < d else at)))


def default(dataflow, n, d, h, shape, holds_a, holds_b, holds_c, of_k=None):
    """Walk over the tiles of the array: the outer loop over what the inner one keeps.

    `of_k` are the parts of d that an array takes at once through which sums pass.
    """
    rows, columns = shape
    held = {"a": set(), "b": set()}
    found = []

    def need(name, entries, keeps):
        missing = entries - held[name]
        held[name] = (held[name] | entries) if keeps else set()
        return len(missing)

    if dataflow == "output-stationary":
        for js in folds(h, columns):
            held["b"] = set()
            for rs in folds(n, rows):
                a = need("a", grid(rs, range(d)), holds_a)
                b = need("b", grid(js, range(d)), holds_b)
                clocks = rows + columns + d - 2
                found.append(Walked(clocks, a, b, behind=len(rs) * len(js)))
        return found
    by_weights = dataflow == "weight-stationary"
    streamed = n if by_weights else h
    for across in folds(h if by_weights else n, columns):
        for ks in of_k or folds(d, rows):
            if by_weights:
                a, b = need("a", grid(range(n), ks), holds_a), need("b", grid(across, ks), False)
            else:
                a, b = need("a", grid(across, ks), False), need("b", grid(range(h), ks), holds_b)
            sums = streamed * len(across)
            is_first, is_last = ks[0] == 0, ks[-1] == d - 1
            unfinished = 0 if holds_c else (not is_first) * sums + (not is_last) * sums
            clocks = 2 * rows + columns + streamed - 2
            found.append(Walked(clocks, a, b, 0, unfinished, is_last * sums))
    return found


def mapped(dataflow, lengths, tile, order, shape):
    """Walk over the tiles of a mapping; sums leave when those of another tile take their place."""
    rows, columns = shape
    steps = {
        name: folds(whole, size)
        for name, whole, size in zip(DIMENSIONS, lengths, tile, strict=True)
    }
    a_held = b_held = c_held = None
    begun, found = set(), []
    for turn in itertools.product(*(steps[name] for name in order)):
        n, d, h = (dict(zip(order, turn, strict=True))[name] for name in DIMENSIONS)
        if dataflow == "output-stationary":
            down, across, clocks = n, h, rows + columns + len(d) - 2
        elif dataflow == "weight-stationary":
            down, across, clocks = d, h, 2 * rows + columns + len(n) - 2
        else:
            down, across, clocks = d, n, 2 * rows + columns + len(h) - 2
        times = len(folds(len(down), rows)) * len(folds(len(across), columns))
        one = Walked(times * clocks, 0, 0)
        if a_held != (n, d):
            one.a, a_held = len(n) * len(d), (n, d)
        if b_held != (h, d):
            one.b, b_held = len(h) * len(d), (h, d)
        if c_held != (n, h):
            if c_held is not None:
                found[-1].behind = len(c_held[0]) * len(c_held[1])
            one.back = len(n) * len(h) if (n, h) in begun else 0
            c_held = n, h
            begun.add(c_held)
        found.append(one)
    found[-1].behind = len(c_held[0]) * len(c_held[1])
    return found


def played(tiles, words_a_clock):
    """Play double buffers: one DRAM that does one thing after another, in the order of the asking.

    A tile starts when its operands are there and the one before is done. It asks for the sums of
    the one before to leave, for its own unfinished sums, and for the operands of the next one.
    """
    free = Fraction(0)

    def move(asked, words):
        nonlocal free
        free = max(free, asked) + Fraction(words) / words_a_clock
        return free

    there, done, sums = move(0, tiles[0].ahead), Fraction(0), 0
    for tile, following in zip(tiles, [*tiles[1:], None], strict=True):
        start = max(there, done)
        move(start, sums)
        passed = move(start, tile.passing)
        there = move(start, following.ahead) if following else 0
        done, sums = max(start + tile.clocks, passed), tile.behind
    return move(done, sums)
