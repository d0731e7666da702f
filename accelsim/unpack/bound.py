"""A fast lower bound on the cost of any row-and-column covers of two operands."""

from __future__ import annotations

import numba
import numpy as np

from accelsim.unpack.heavy import Parted


def least_macs_of_covers(a: Parted, b: Parted) -> int:
    """Return a number of multiplications that any covers of A and B by rows and columns need.

    Each of a set of out-of-bound entries that share neither row nor column needs its own line, as a
    row or as a column. With ``M_A`` and ``M_B`` of them, x and z of which are covered by rows, the
    products take at least ``(n + x) (d + M_A - x + M_B - z) (h + z)``, which is least where x and z
    are at an end of their ranges.
    """
    (n, d), h = a.low.shape, b.low.shape[0]
    most_a, most_b = _unrelated(a), _unrelated(b)
    return min(
        (n + x) * (d + most_a - x + most_b - z) * (h + z) for x in (0, most_a) for z in (0, most_b)
    )


def _unrelated(parted: Parted) -> int:
    """Count out-of-bound entries, greedily chosen, that share neither row nor column."""
    high = parted.high
    first_digits = parted.lines[0].count if parted.lines else 0
    starts = high.starts[: first_digits + 1].cpu().numpy()
    return int(_matching(starts, high.columns.cpu().numpy(), high.shape[1]))


@numba.njit(cache=True)
def _matching(starts: np.ndarray, columns: np.ndarray, d: int) -> int:
    taken = np.zeros(d, np.bool_)
    matched = 0
    for line in range(starts.size - 1):
        for column in columns[starts[line] : starts[line + 1]]:
            if not taken[column]:
                taken[column] = True
                matched += 1
                break
    return matched
