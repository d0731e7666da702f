"""Optimal covers: against exhaustive search, and by their certificates."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import maximum_flow

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from accelsim.unpack.frontier import LeastCover, SupportLine, least_cover
from accelsim.unpack.mincut import CAPACITY, CoverNetwork
from accelsim.unpack.optimal import _alternate, _Operand, search
from accelsim.unpack.products import repeats
from workloads import open_bundle
from workloads.shipped import shipped_bundles


def exhaustive(counts, weights):
    """Try every choice of column levels, with the fewest row levels that it allows."""
    top = int(counts.max(initial=1))
    best = None
    for columns in product(range(1, top + 1), repeat=counts.shape[1]):
        rows = np.maximum(1, counts + 1 - np.array(columns)).max(axis=1, initial=1)
        cost = int(rows.sum()) * int((np.array(columns) * weights).sum())
        best = cost if best is None else min(best, cost)
    return best


def covers(point, counts):
    return bool(((point.rows[:, None] + point.columns) >= counts + 1).all())


@st.composite
def small_counts(draw):
    n, d, top = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    heavy = generator.random((n, d)) < draw(st.sampled_from([0.1, 0.4, 0.8]))
    counts = np.where(heavy, generator.integers(1, top, (n, d), endpoint=True), 1)
    return counts, generator.integers(1, 4, d)


@given(small_counts())
@settings(max_examples=200, deadline=None)
def test_the_least_cover_is_what_exhaustive_search_finds(case):
    counts, weights = case
    found = least_cover(CoverNetwork.of(counts), weights)
    assert covers(found.point, counts)
    assert found.point.cost == exhaustive(counts, weights) == found.bound
    assert found.point.y == int((found.point.columns * weights).sum())


def outer_bound(supports):
    """Return the least of x * y over the corners of the region that the supports bound."""
    corners = []
    for index, p in enumerate(supports):
        for q in supports[:index]:
            area = p.row_weight * q.column_weight - q.row_weight * p.column_weight
            if area:
                x = Fraction(p.value * q.column_weight - q.value * p.column_weight, area)
                y = Fraction(p.row_weight * q.value - q.row_weight * p.value, area)
                if all(s.row_weight * x + s.column_weight * y >= s.value for s in supports):
                    corners.append(x * y)
    return min(corners)


def check_cut(network, row_weight, weights):
    """Check the dual: a feasible flow as large as the cover is a bound on every cover."""
    cut = network.cut(row_weight, weights)
    sink = cut.capacities.shape[0] - 1
    flow, capacity = cut.flow, cut.capacities
    assert (capacity - flow).min() >= 0
    balance = np.asarray(flow.sum(axis=1)).ravel()
    assert not balance[1:sink].any()
    value = row_weight * int(cut.rows.sum()) + int((cut.columns * weights).sum())
    trivial = row_weight * network.shape[0] + int(weights.sum())
    assert value == cut.value == balance[0] + trivial == -balance[sink] + trivial
    return cut


def real_operands():
    return [gemm for path in shipped_bundles() for gemm in open_bundle(path).gemms]


@pytest.mark.parametrize(("bits", "beta"), [(8, 127), (4, 15), (3, 15)])
@pytest.mark.parametrize("gemm", real_operands(), ids=lambda gemm: gemm.name)
def test_certificates_hold_on_real_operands(gemm, bits, beta):
    values = quantize(gemm.load()[0], 95, beta).values
    counts = DigitSystem("balanced", bits).count(values)
    counts = (counts if counts.ndim == 2 else counts[0]).numpy()
    weights = 1 + (np.arange(counts.shape[1]) % 3 == 0)
    network = CoverNetwork.of(counts)
    found = least_cover(network, weights)
    assert covers(found.point, counts)
    assert outer_bound(found.supports) >= found.point.cost - 1 + Fraction(1, 10**9)
    assert found.bound == found.point.cost
    for support in found.supports[2:]:
        cut = check_cut(network, support.row_weight, support.column_weight * weights)
        assert cut.value == support.value
        assert covers(cut, counts)


def test_a_support_that_is_too_high_by_one_is_noticed():
    counts = np.array([[2, 1, 1], [1, 2, 1], [1, 1, 2], [2, 2, 2]])
    network = CoverNetwork.of(counts)
    found = least_cover(network, np.ones(3, np.int64))
    last = found.supports[-1]
    high = SupportLine(last.row_weight, last.column_weight, last.value + 1)
    assert check_cut(network, last.row_weight, np.full(3, last.column_weight)).value != high.value


def operand(values, bits=4, digits="balanced"):
    return IntegerOperand(torch.as_tensor(values), DigitSystem(digits, bits))


@st.composite
def pairs(draw):
    batch, n, d, h = draw(st.tuples(st.integers(1, 3), *[st.integers(1, 8)] * 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.05, 0.3]))

    def one(rows):
        heavy = generator.random((batch, rows, d)) < share
        large = generator.integers(-5000, 5000, (batch, rows, d))
        return torch.from_numpy(np.where(heavy, large, 1).astype(np.int32))

    return one(n), one(h)


@given(pairs(), st.sampled_from(["paper", "balanced"]), st.integers(2, 16), st.integers(2, 16))
@settings(max_examples=30, deadline=None)
def test_no_strategy_is_worse_than_mix_and_best_is_the_least(pair, digits, bits_a, bits_b):
    a, b = operand(pair[0], bits_a, digits), operand(pair[1], bits_b, digits)
    cost = {
        name: load_strategy(name, 2).unpack(a, b).low_bit_macs
        for name in ("mix", "optimal", "block", "best")
    }
    assert max(cost["optimal"], cost["block"]) <= cost["mix"]
    assert cost["best"] == min(cost.values())


@given(pairs(), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_neither_cover_of_a_found_pair_can_be_improved_alone(pair, bits):
    a, b = operand(pair[0], bits), operand(pair[1], bits)
    found = search(a, b, 0)
    assert found.proved
    assert found.gap == 0
    levels_a, levels_b = found.pair.levels_a, found.pair.levels_b
    columns = torch.cat(repeats(levels_a)).tolist()
    of_column = dict(zip(columns, levels_b.columns.tolist(), strict=True))
    delta = np.array([of_column[j] for j in range(a.heads.shape[2])])
    best_a = least_cover(CoverNetwork.of(a.counts[0].numpy()), delta).point.cost
    best_b = least_cover(CoverNetwork.of(b.counts[0].numpy()), levels_a.columns.numpy()).point.cost
    assert best_a * int(levels_b.rows.sum()) == found.pair.macs
    assert best_b * int(levels_a.rows.sum()) == found.pair.macs


@given(pairs(), st.integers(2, 6))
@settings(max_examples=30)
def test_covers_that_nothing_improves_cost_what_bounds_them(pair, bits):
    sides = [operand(x, bits).counts[0].numpy() for x in pair]
    start = np.ones(sides[0].shape[1], np.int64)
    one, other = _alternate(*(_Operand(counts, None) for counts in sides), start)
    levels = int((one.point.columns * other.point.columns).sum())
    assert one.point.y == other.point.y == levels
    assert [x.bound for x in (one, other)] == [x.point.x * levels for x in (one, other)]


def random_operands():
    generator = torch.Generator().manual_seed(0)
    return [
        operand((torch.randn(40, 60, generator=generator) ** 3 * 6).int(), digits="paper")
        for _ in range(2)
    ]


def test_a_limit_gives_the_best_so_far_with_its_gap():
    a, b = random_operands()
    found = search(a, b, 0, time_limit_s=1e-9)
    mix = load_strategy("mix").unpack(a, b).low_bit_macs
    assert found.pair.macs == mix
    assert not found.proved
    assert found.gap == pytest.approx(mix / (40 * 60 * 40) - 1)
    problem = load_strategy("optimal(time_limit_s=1e-9)").unpack(a, b)
    assert problem.strategy_chosen == f"optimal (stopped {found.gap:.1%} above a bound)"
    with pytest.raises(InputError, match="time_limit_s"):
        load_strategy("optimal(time_limit_s=-1)")


def test_a_stopped_search_still_has_a_bound():
    a, _ = random_operands()
    network = CoverNetwork.of(a.counts[0].numpy())
    weights = np.ones(60, np.int64)
    stopped, done = least_cover(network, weights, 0.0), least_cover(network, weights)
    assert isinstance(stopped, LeastCover)
    assert stopped.bound < done.bound == done.point.cost <= stopped.point.cost
    assert outer_bound(stopped.supports) <= done.point.cost


def test_weights_beyond_the_capacities_are_rounded_and_leave_a_bound(monkeypatch):
    a, _ = random_operands()
    network = CoverNetwork.of(a.counts[0].numpy())
    weights = np.full(60, 7, np.int64)
    exact = least_cover(network, weights)
    monkeypatch.setattr("accelsim.unpack.frontier.CAPACITY", 2000)
    rounded = least_cover(network, weights)
    assert rounded.bound <= exact.bound == exact.point.cost <= rounded.point.cost


def test_the_capacity_is_the_largest_of_scipys_flows():
    arc = scipy.sparse.csr_array(np.array([[0, CAPACITY], [0, 0]], dtype=np.int32))
    assert maximum_flow(arc, 0, 1).flow_value == CAPACITY
    with pytest.raises(OverflowError):
        np.array([CAPACITY + 1], dtype=np.int32)
