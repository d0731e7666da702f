"""The cheapest row-and-column cover for fixed weights: a minimum cut.

Row i has rho_i levels and column j gamma_j, at least 1 each. With ``x[i, p] = [rho_i > p]`` and
``y[j, q] = [gamma_j > q]`` an entry of L digits asks for ``x[i, p] or y[j, L - p]`` for each p from
1 to L - 1: a bipartite vertex cover in which x and y fall with p and q. Its matrix is totally
unimodular, so that the linear program has an integral optimum; the maximum flow is its dual.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

Integers = npt.NDArray[np.int64]
CAPACITY = 2**31 - 1
"""The largest capacity of SciPy's flows."""


@dataclass(frozen=True)
class Cut:
    """The cheapest cover, and the flow that proves it.

    Parameters
    ----------
    rows, columns : ndarray
        int64 ``[n]`` and ``[d]``, the levels.
    value : int
        ``row_weight * sum(rows) + sum(column_weights * columns)``.
    capacities, flow : csr_array
        The network, from node 0 (source) to the last (sink), and the maximum flow in it.
    """

    rows: Integers
    columns: Integers
    value: int
    capacities: scipy.sparse.csr_array
    flow: scipy.sparse.csr_array


@dataclass(frozen=True)
class CoverNetwork:
    """The graph of one operand's out-of-bound entries, for any weights.

    Parameters
    ----------
    shape : tuple of int
        ``(n, d)`` of the operand.
    row, column, digits : ndarray
        int64 ``[entries]``: the place of each entry of more than one digit, and how many.
    """

    shape: tuple[int, int]
    row: Integers
    column: Integers
    digits: Integers

    @classmethod
    def of(cls, counts: npt.NDArray[np.integer]) -> CoverNetwork:
        """Make the graph of an operand from the digits that each entry needs, ``[n, d]``."""
        n, d = counts.shape
        row, column = np.nonzero(counts > 1)
        return cls((n, d), row, column, counts[row, column].astype(np.int64))

    @cached_property
    def needed_rows(self) -> Integers:
        """Levels of each row where columns have one: rows alone."""
        return _most(self.row, self.digits, self.shape[0])

    @cached_property
    def needed_columns(self) -> Integers:
        """Levels of each column where rows have one: columns alone."""
        return _most(self.column, self.digits, self.shape[1])

    def largest_capacity(self, row_weight: int, column_weights: Integers) -> int:
        """Return a capacity that no flow fills, which `cut` gives to arcs that must not be cut."""
        needed = row_weight * int((self.needed_rows - 1).sum())
        return max(1, needed, int(column_weights.max(initial=0)))

    def cut(self, row_weight: int, column_weights: Integers) -> Cut:
        """Find the cheapest cover for these weights, whose capacities must fit `CAPACITY`."""
        rows, columns = self.needed_rows - 1, self.needed_columns - 1
        heads, tails = self._arcs
        row_nodes = 1 + np.arange(rows.sum())
        column_nodes = 1 + rows.sum() + np.arange(columns.sum())
        sink = int(1 + rows.sum() + columns.sum())
        start = np.concatenate([np.zeros_like(row_nodes), column_nodes, heads])
        end = np.concatenate([row_nodes, np.full_like(column_nodes, sink), tails])
        capacity = np.concatenate(
            [
                np.full(row_nodes.size, row_weight),
                np.repeat(column_weights, columns),
                np.full(heads.size, self.largest_capacity(row_weight, column_weights)),
            ]
        )
        size = (sink + 1, sink + 1)
        network = scipy.sparse.csr_array((capacity.astype(np.int32), (start, end)), shape=size)
        network.sort_indices()
        found = maximum_flow(network, 0, sink)
        reached = np.zeros(sink + 1, np.bool_)
        residual = scipy.sparse.csr_array(network - found.flow)
        residual.eliminate_zeros()
        reached[breadth_first_order(residual, 0, return_predecessors=False)] = True
        cut_rows, cut_columns = ~reached[row_nodes], reached[column_nodes]
        rho = 1 + np.bincount(np.repeat(np.arange(rows.size), rows)[cut_rows], minlength=rows.size)
        gamma = 1 + np.bincount(
            np.repeat(np.arange(columns.size), columns)[cut_columns], minlength=columns.size
        )
        value = int(found.flow_value + row_weight * rows.size + column_weights.sum())
        return Cut(rho, gamma, value, network, scipy.sparse.csr_array(found.flow))

    @cached_property
    def _arcs(self) -> tuple[Integers, Integers]:
        """The arcs that must not be cut: of the entries, and from level to level of a line."""
        rows, columns = self.needed_rows - 1, self.needed_columns - 1
        first_row = 1 + np.cumsum(rows) - rows
        first_column = 1 + rows.sum() + np.cumsum(columns) - columns
        links = self.digits - 1
        level = np.arange(links.sum()) - np.repeat(np.cumsum(links) - links, links)
        heads = [np.repeat(first_row[self.row], links) + level]
        tails = [np.repeat(first_column[self.column] + links - 1, links) - level]
        upper = _all_but_last(first_row, rows)
        heads.append(upper)
        tails.append(upper + 1)
        lower = _all_but_last(first_column, columns)
        heads.append(lower + 1)
        tails.append(lower)
        return np.concatenate(heads), np.concatenate(tails)


def _most(lines: Integers, digits: Integers, count: int) -> Integers:
    most = np.ones(count, np.int64)
    np.maximum.at(most, lines, digits)
    return most


def _all_but_last(first: Integers, sizes: Integers) -> Integers:
    """Return the nodes of each line but its last."""
    keep = np.maximum(sizes - 1, 0)
    nodes: Integers = np.arange(keep.sum()) + np.repeat(first - np.cumsum(keep) + keep, keep)
    return nodes
