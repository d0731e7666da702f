"""What strategies choose, choice by choice, against the same rules restated with lists."""

from functools import cache
from itertools import chain

import by_lists
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack import DigitSystem, IntegerOperand, blocks
from accelsim.unpack.blocks import count_slots, plan_blocks
from accelsim.unpack.bound import least_macs_of_covers
from accelsim.unpack.copies import copy_columns
from accelsim.unpack.heavy import Parted, part
from accelsim.unpack.panels import Panel, cross
from accelsim.unpack.problem import Segment


def sparse(dense, d):
    matrix = torch.tensor(dense, dtype=torch.int8).reshape(-1, d)
    rows, columns = matrix.nonzero(as_tuple=True)
    return SparseDigits.from_entries(rows, columns, matrix[rows, columns], tuple(matrix.shape))


@st.composite
def matrices(draw, rows, d):
    """Draw digits, most of them zero, and in some columns many that are not."""
    n, d = draw(rows), draw(d)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    busy = generator.random((n, d)) < generator.choice([0.1, 0.3, 0.9], d)
    return np.where(busy, generator.choice([-8, -1, 1, 2, 7], (n, d)), 0).tolist()


@given(matrices(rows=st.integers(1, 30), d=st.integers(1, 20)), st.data())
@settings(max_examples=80)
def test_blocks_are_those_of_the_rules(dense, data):
    d = len(dense[0])
    t = data.draw(st.integers(1, d), "t")
    open_blocks, collecting = (
        data.draw(st.sampled_from([1, 2, 3, 64])),
        data.draw(st.integers(1, 4)),
    )
    high = sparse(dense, d)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "OPEN", open_blocks)
        patch.setattr(blocks, "COLLECTING", collecting)
        plan = plan_blocks(high, t)
        assert count_slots(high, t) == plan.lines.numel()
    expected = by_lists.block_plan(dense, t, open_blocks, collecting)
    assert plan.columns.tolist() == [columns for columns, _ in expected]
    assert plan.lines.tolist() == [number for _, lines in expected for number, _ in lines]
    assert plan.sizes == [len(lines) for _, lines in expected]
    for digits, (columns, lines) in zip(plan.digits(high), expected, strict=True):
        assert digits.tolist() == [
            [dense[number][j] if j in own else 0 for j in columns] for number, own in lines
        ]


def test_blocks_are_collected_in_64_at_a_time_and_four_for_each_of_the_order():
    assert (blocks.OPEN, blocks.COLLECTING) == (64, 4)


@given(matrices(rows=st.integers(1, 9), d=st.integers(1, 9)), st.data())
def test_lines_that_cross_a_panel_are_those_with_digits_in_its_columns(other, data):
    d = len(other[0])
    panels = []
    for _ in range(data.draw(st.integers(0, 3), "panels")):
        columns = data.draw(st.lists(st.integers(0, d - 1), min_size=1, unique=True))
        width = st.just(len(columns))
        panels.append((columns, data.draw(matrices(rows=st.integers(1, 4), d=width))))
    made = [
        Panel(torch.tensor(columns), torch.tensor(digits, dtype=torch.int8), ())
        for columns, digits in panels
    ]
    found = cross(made, sparse(other, d))
    expected = [by_lists.crossing(columns, digits, other) for columns, digits in panels]
    assert [lines.tolist() for lines in found.lines] == [lines for lines, _ in expected]
    assert [digits.tolist() for digits in found.digits] == [digits for _, digits in expected]
    assert [digits.shape[1] for digits in found.digits] == [len(columns) for columns, _ in panels]
    assert found.macs(made) == sum(
        len(digits) * len(lines) * len(columns)
        for (columns, digits), (lines, _) in zip(panels, expected, strict=True)
    )
    nothing = cross(made, None)
    assert [tuple(digits.shape) for digits in nothing.digits] == [(0, len(c)) for c, _ in panels]
    assert nothing.macs(made) == 0


@given(st.data())
@settings(max_examples=60)
def test_columns_are_copied_where_that_is_cheaper(data):
    n, d = data.draw(st.integers(1, 10), "n"), data.draw(st.integers(1, 9), "d")
    rows = st.integers(0, n)
    dense = list(chain(*(data.draw(matrices(rows, st.just(d))) for _ in range(2))))
    first = data.draw(st.integers(0, min(n, len(dense))), "lines of the first level")
    check_copies(n, dense[: first + n], first, data.draw(st.integers(1, d), "t"))


@pytest.mark.parametrize("seed", [4, 13, 15, 31])
def test_three_quarters_as_many_columns_may_be_cheaper_to_copy(seed):
    generator = np.random.default_rng(seed)
    n, d, t = (int(generator.integers(*ends)) for ends in ((8, 40), (10, 40), (2, 17)))
    full = int(generator.integers(3, 9))
    dense = np.where(generator.random((n, d)) < generator.choice([0.02, 0.1, 0.2]), 3, 0)
    dense[:, generator.permutation(d)[:full]] = -2
    dense = np.where(generator.random((n, d)) < 0.9, dense, 0)
    check_copies(n, dense.tolist(), n, min(t, d))


def check_copies(n, dense, first, t):
    """Compare with the rules; the first lines are of level 1, the others of level 2."""
    d = len(dense[0]) if dense else 1
    levels = [int(number >= first) for number in range(len(dense))]
    rows_of_lines = list(range(first)) + list(range(len(dense) - first))
    lines = tuple(
        Segment(len(own), 4 * (level + 1), torch.tensor(own, dtype=torch.int64))
        for level, own in enumerate((rows_of_lines[:first], rows_of_lines[first:]))
    )
    parted = Parted(torch.zeros((n, d), dtype=torch.int8), sparse(dense, d), lines)
    rest, panels = copy_columns(parted, t)

    def slots(matrix):
        return count_slots(sparse(matrix, d), t)

    taken, kept = by_lists.copied(dense, levels, n, t, slots)
    assert rest.high.to_dense().tolist() == kept
    assert rest.low is parted.low
    found = [(panel.rows[0].exponent // 4 - 1, panel) for panel in panels]
    for level in (0, 1):
        own = [panel for its, panel in found if its == level]
        columns = [column for its, column in taken if its == level]
        assert [p.columns.tolist() for p in own] == [
            columns[i : i + t] for i in range(0, len(columns), t)
        ]
        for panel in own:
            assert panel.rows == (Segment(n, 4 * (level + 1)),)
            whole = [[0] * panel.columns.numel() for _ in range(n)]
            for its, row, line in zip(levels, rows_of_lines, dense, strict=True):
                if its == level:
                    whole[row] = [line[j] for j in panel.columns.tolist()]
            assert panel.digits.tolist() == whole


@given(
    st.sampled_from(["paper", "balanced"]),
    st.integers(2, 8),
    matrices(rows=st.integers(1, 5), d=st.integers(1, 6)),
    st.data(),
)
def test_parts_are_digits_of_the_entries_that_do_not_fit(name, bits, values, data):
    larger = st.sampled_from([1, 3, 40, 900, 2**33])
    values = [[value * data.draw(larger) for value in row] for row in values]
    system = DigitSystem(name, bits)

    @cache
    def outside(value):
        return bool(system.out_of_bound(torch.tensor(value)))

    @cache
    def split(value):
        return tuple(x.item() for x in system.split(torch.tensor(value)))

    parted = part(IntegerOperand(torch.tensor(values), system), 0)
    low, lines = by_lists.high_digits(values, split, outside)
    assert parted.low.tolist() == low
    assert parted.high.to_dense().tolist() == [digits for _, _, digits in lines]
    assert parted.row_of_line.tolist() == [row for row, _, _ in lines]
    levels = [segment.exponent for segment in parted.lines for _ in range(segment.count)]
    assert levels == [level * system.shift for _, level, _ in lines]
    assert [x.low for x in (parted, parted.without_high)] == [parted.low] * 2
    assert parted.without_high.high.to_dense().shape == (0, len(values[0]))
    assert parted.without_high.lines == ()
    assert parted.whole == (Segment(len(values), 0),)


@given(
    matrices(rows=st.integers(1, 6), d=st.just(5)), matrices(rows=st.integers(1, 6), d=st.just(5))
)
def test_the_bound_of_covers_counts_entries_that_share_no_line(first, second):
    def unrelated(matrix):
        taken = []
        for line in matrix:
            taken += [j for j in by_lists.held(line) if j not in taken][:1]
        return len(taken)

    n, h, d = len(first), len(second), 5
    operands = [
        part(IntegerOperand(torch.tensor(x) * 100, DigitSystem("balanced", 4)), 0)
        for x in (first, second)
    ]
    p, q = unrelated(first), unrelated(second)
    # Entries are covered by rows or by columns: the least is at one end for either operand.
    assert least_macs_of_covers(*operands) == min(
        n * (d + p + q) * h,
        (n + p) * (d + q) * h,
        n * (d + p) * (h + q),
        (n + p) * d * (h + q),
    )
