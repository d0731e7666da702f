"""Digits, covers, products and packing, against Python's integers and the paper's results."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.bounds import fits_int64, largest, longest_k
from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import InputError
from accelsim.unpack import (
    DigitSystem,
    IntegerOperand,
    list_strategies,
    load_strategy,
    pack,
    pack_wide,
)
from accelsim.unpack.levels import cover

SYSTEMS = st.builds(DigitSystem, st.sampled_from(["paper", "balanced"]), st.integers(2, 16))


def python_product(a, b):
    x, y = a.numpy().astype(object), b.numpy().astype(object)
    return np.stack(
        [
            i @ j.T if i.shape[1] else np.full((len(i), len(j)), 0, dtype=object)
            for i, j in zip(x, y, strict=True)
        ]
    )


def low_bit_results(problem):
    return [dense(p.a) @ dense(p.b).T for p in problem.products]


def dense(digits):
    return (digits.to_dense() if isinstance(digits, SparseDigits) else digits).to(torch.int64)


def unpacked(a, b, strategy, system_a, system_b, block=None):
    made = load_strategy(strategy, block)
    return made.unpack(IntegerOperand(a, system_a), IntegerOperand(b, system_b))


@st.composite
def operands(draw):
    batch, n, d, h = draw(st.tuples(st.integers(1, 2), *[st.integers(0, 5)] * 3))
    top = draw(st.sampled_from([3, 200, 2**31 - 1]))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)

    def one(rows):
        heavy = generator.random((batch, rows, d)) < 0.3
        values = np.where(heavy, generator.integers(-top, top, (batch, rows, d), endpoint=True), 1)
        return torch.from_numpy(values.astype(np.int32))

    return one(n), one(h)


@given(
    operands(),
    st.sampled_from(list_strategies()),
    SYSTEMS,
    SYSTEMS,
    st.sampled_from([1, 2, 3, 32]),
)
@settings(max_examples=300, deadline=None)
def test_any_integers_come_back_exactly_from_digits_in_range(
    pair, strategy, system_a, system_b, block
):
    a, b = pair
    problem = unpacked(a, b, strategy, system_a, system_b, block)
    for product in problem.products:
        assert not bool(system_a.out_of_bound(dense(product.a)).any())
        assert not bool(system_b.out_of_bound(dense(product.b)).any())
        assert (product.a.dtype, product.b.dtype) == (system_a.dtype, system_b.dtype)
    results = low_bit_results(problem)
    expected = python_product(a, b)
    assert compare(pack_wide(problem, results), expected).exact
    if fits_int64(a.shape[-1], largest(a), largest(b)):
        assert compare(pack(problem, results), expected).exact
    assert compare(oracle(a, b), expected).exact


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1), SYSTEMS)
def test_splitting_keeps_the_value_and_counts_the_digits(values, system):
    rest = torch.tensor(values, dtype=torch.int64)
    counts = system.count(rest)
    total, weight = torch.zeros_like(rest), 0
    for level in range(int(counts.max())):
        low, high = system.split(rest)
        assert not bool(system.out_of_bound(low).any())
        total += (
            torch.where(counts > level + 1, low, torch.where(counts == level + 1, rest, 0))
            << weight
        )
        rest, weight = high, weight + system.shift
    assert total.tolist() == values


def brute_greedy(values, bits):
    """Restate UnpackBoth step by step: always the line with the most out-of-bound entries."""
    scale, matrix = 2 ** (bits - 1), values.copy()
    while True:
        over = np.abs(matrix) >= scale
        rows, columns = over.sum(1), over.sum(0)
        if not over.any():
            return matrix.shape
        if rows.max() >= columns.max():
            i = rows.argmax()
            matrix = np.vstack([matrix, matrix[i] // scale])
            matrix[i] %= scale
        else:
            j = columns.argmax()
            matrix = np.hstack([matrix, matrix[:, [j]] // scale])
            matrix[:, j] %= scale


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_buckets_give_what_rescanning_gives(bits, seed):
    values = (np.random.default_rng(seed).standard_normal((13, 17)) ** 3 * 2**bits).astype(np.int64)
    operand = IntegerOperand(torch.from_numpy(values), DigitSystem("paper", bits))
    levels = cover(operand, 0, "both")
    assert (int(levels.rows.sum()), int(levels.columns.sum())) == brute_greedy(values, bits)


def test_balanced_digits_use_the_whole_range():
    system = DigitSystem("balanced", 4)
    assert system.count(torch.tensor([-8, 7, 8, -9])).tolist() == [1, 1, 2, 2]
    assert DigitSystem("paper", 4).count(torch.tensor([-8, 7, 8, -7])).tolist() == [2, 1, 2, 1]


def test_a_fitting_gemm_is_one_product_with_ratio_one():
    a, b = torch.ones(2, 3, 4, dtype=torch.int32), torch.ones(2, 5, 4, dtype=torch.int32)
    system = DigitSystem("balanced", 8)
    problem = unpacked(a, b, "mix", system, system)
    assert (problem.ratio, len(problem.products), problem.shift_adds) == (1.0, 2, 0)


@pytest.mark.parametrize(
    ("strategy", "corrections", "sparse", "shift_adds", "gather_bytes"),
    [
        # Row 1 of A takes 3 lines.
        ("row", 2 * 6 * 7, 0, 2 * 7, 2 * 6),
        # Column 2 of A and of B is there 3 times, in a product for each exponent.
        ("column", 5 * 2 * 7, 0, 2 * 5 * 7, 2 * (5 + 7)),
        # Two lines of one entry each: their starts, columns and values, and B's low digits again.
        ("block", 2 * 7, 2 * 7, 2 * 7, 3 * 8 + 2 * 8 + 2 + 7 * 6),
    ],
)
def test_operations_are_counted_by_kind(strategy, corrections, sparse, shift_adds, gather_bytes):
    a, b = torch.zeros(1, 5, 6, dtype=torch.int32), torch.ones(1, 7, 6, dtype=torch.int32)
    a[0, 1, 2] = 1000
    system = DigitSystem("balanced", 4)
    problem = unpacked(a, b, strategy, system, system, 1)
    assert problem.dense_macs == 5 * 6 * 7
    assert problem.correction_macs == corrections == problem.low_bit_macs - 5 * 6 * 7
    assert problem.sparse_macs == sparse
    assert problem.shift_adds == shift_adds
    assert problem.gather_bytes == gather_bytes
    assert problem.scatter_bytes == 2 * 8 * shift_adds


def test_products_beyond_int32_are_exact():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(2_000, 12_000, (8, 1536), generator=generator, dtype=torch.int32)
    b = torch.randint(200, 400, (6, 1536), generator=generator, dtype=torch.int32)
    system = DigitSystem("balanced", 8)
    problem = unpacked(a, b, "mix", system, system)
    result = pack(problem, low_bit_results(problem))
    assert int(result.max()) > 2**31
    assert compare(result, oracle(a, b)[None]).exact


def problem_and_expected(digits="paper"):
    a = torch.tensor([[100, -300, 5], [7, -1, 70_000]], dtype=torch.int32)
    b = torch.tensor([[-20, 3, 900], [1, 2, 3]], dtype=torch.int32)
    system = DigitSystem(digits, 4)
    return unpacked(a, b, "both/column", system, system), oracle(a, b)[None]


def test_a_broken_exponent_map_is_noticed():
    problem, expected = problem_and_expected()
    results = low_bit_results(problem)
    assert compare(pack(problem, results), expected).exact
    last = problem.products[-1]
    broken = replace(
        problem, products=[*problem.products[:-1], replace(last, exponent=last.exponent + 1)]
    )
    assert not compare(pack(broken, results), expected).exact


def test_a_broken_carry_is_noticed(monkeypatch):
    monkeypatch.setattr(DigitSystem, "carry", lambda self, splits: 0)
    problem, expected = problem_and_expected("balanced")
    assert not compare(pack(problem, low_bit_results(problem)), expected).exact


def test_the_oracle_does_not_use_digits(monkeypatch):
    a, b = torch.tensor([[-1000, 5]]), torch.tensor([[77, -900]])

    def forbidden(*_):
        raise AssertionError("the oracle used the digits it is to judge")

    for name in ("split", "carry", "count", "reach"):
        monkeypatch.setattr(DigitSystem, name, forbidden)
    with pytest.raises(AssertionError, match="the oracle used"):
        problem_and_expected()
    assert oracle(a, b).tolist() == [[-81_500]]


def test_the_overflow_bound_is_tight_for_int32():
    assert longest_k(32, 128, 128) == 131_071
    assert longest_k(32, 0, 5) is None
    assert longest_k(8, 128, 128) == 0


def test_unknown_names_and_widths_are_refused():
    with pytest.raises(InputError, match="did you mean 'row/column'"):
        load_strategy("row/colum")
    with pytest.raises(InputError, match="digit system"):
        DigitSystem("binary", 8)
    with pytest.raises(InputError, match="2 to 16"):
        DigitSystem("paper", 1)
