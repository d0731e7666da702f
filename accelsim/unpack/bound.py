"""A lower bound, quickly, on what any row-and-column covers of two operands take."""

from __future__ import annotations

import numba
import numpy as np

from accelsim.unpack.heavy import Parted


def least_macs_of_covers(a: Parted, b: Parted) -> int:
    """Return multiplications that no covers of A and B by rows and columns can do without.

    Of out-of-bound entries that share neither row nor column, each needs a line of its own, as a
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
