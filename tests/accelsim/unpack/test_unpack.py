"""Digits, covers, products and packing, against Python's integers and the paper's results."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic import digits as digits_module
from accelsim.arithmetic.bounds import fits_int64, largest, longest_k, round_up
from accelsim.arithmetic.digit_systems import DigitRules
from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import DataError, InputError
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
    top = draw(st.sampled_from([3, 200, 2**31 - 1, 2**31, 2**53 + 1, 2**62 - 1]))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)

    def one(rows):
        heavy = generator.random((batch, rows, d)) < 0.3
        values = np.where(heavy, generator.integers(-top, top, (batch, rows, d), endpoint=True), 1)
        values[generator.random(values.shape) < 0.05] = top * int(generator.choice([-1, 1]))
        return torch.from_numpy(values).to(torch.int32 if top < 2**31 else torch.int64)

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


@given(
    st.lists(st.integers(1 - 2**62, 2**62 - 1) | st.integers(-(2**31), 2**31), min_size=1), SYSTEMS
)
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


BOUNDS = [2**31 - 1, 2**31, 2**53 - 1, 2**53 + 1, 2**62 - 1]


@pytest.mark.parametrize("strategy", ["row", "column", "both", "mix", "block", "optimal", "best"])
@pytest.mark.parametrize("top", BOUNDS)
@pytest.mark.parametrize(("digits", "bits"), [("paper", 2), ("balanced", 3), ("balanced", 16)])
def test_magnitudes_up_to_two_to_the_62(top, strategy, digits, bits):
    system = DigitSystem(digits, bits)
    a = torch.tensor([[[top, -3, 0, 1], [1, -top, 2, 0], [0, 7, 1, -1]]])
    b = torch.tensor([[[-top, 1, 9, 2], [5, 1, -1, 1], [1, top, top, 0]]])
    problem = unpacked(a, b, strategy, system, system)
    expected = python_product(a, b)
    assert compare(pack_wide(problem, low_bit_results(problem)), expected).exact
    assert compare(oracle(a, b), expected).exact
    assert problem.max_digits_a == next(x for x in range(1, 64) if wide_enough(system, x, top))


def wide_enough(system, levels, top):
    low, high = system.reach(levels)
    return low <= -top and top <= high


@pytest.mark.parametrize("value", [2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_magnitudes_from_two_to_the_62_on_are_refused(value):
    operand = IntegerOperand(torch.tensor([[1, value]]), DigitSystem("balanced", 8))
    with pytest.raises(DataError, match="below 2\\^62"):
        operand.heads  # noqa: B018


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("beyond", [False, True])
def test_sums_at_the_limit_of_int64_and_one_beyond(sign, beyond):
    # 2 * (2^62 - 1) + 1 = 2^63 - 1, and one more.
    top = 2**62 - 1
    a = torch.tensor([[sign * top, sign * top, sign * (2 if beyond else 1)]])
    b = torch.tensor([[1, 1, 1]])
    system = DigitSystem("balanced", 8)
    problem = unpacked(a, b, "mix", system, system)
    results = low_bit_results(problem)
    expected = python_product(a[None], b[None])
    assert int(expected[0, 0, 0]) == sign * (2**63 if beyond else 2**63 - 1)
    assert compare(pack_wide(problem, results), expected).exact
    assert not fits_int64(3, largest(a), largest(b))
    assert compare(oracle(a, b), expected[0]).exact
    packed = pack(problem, results)
    assert compare(packed, expected).exact == (not beyond or sign < 0)


@pytest.mark.parametrize(("d", "fits"), [(2**23 - 1, True), (2**23, False)])
def test_the_bound_of_int64_is_at_two_to_the_63(d, fits):
    assert fits_int64(d, 2**20, 2**20) == fits
    assert fits_int64(1, 2**63 - 1, 1)
    assert not fits_int64(1, 2**63, 1)


@pytest.mark.parametrize("factors", [(2**26 - 1, 2**27 + 1), (2**26 + 1, 2**27 + 1)])
def test_the_oracle_uses_one_float64_product_only_below_two_to_the_53(factors):
    # Both products are odd; the second is above 2^53, and float64 does not have it.
    x, y = factors
    assert (x * y < 2**53) == (int(float(x * y)) == x * y)
    assert oracle(torch.tensor([[x]]), torch.tensor([[y]])).tolist() == [[x * y]]


def test_a_shift_of_64_adds_nothing_to_the_oracle():
    # The bound proves that int64 is enough, while both operands have a part at 2^32.
    a, b = torch.tensor([[2**32 - 2]]), torch.tensor([[2**31]])
    for sign in (1, -1):
        assert fits_int64(1, largest(a), largest(b))
        assert oracle(sign * a, b).tolist() == [[sign * (2**32 - 2) * 2**31]]


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ([5, 7, -3], [5, 7, -3]),
        ([5, 8, -3], [5, 7, -9]),
        ([2**63 - 1, 0, 0], [-(2**63), 0, 1]),
        ([0, 2**62, -1], [0, -(2**62) - 1, 1]),
    ],
)
def test_the_largest_difference_is_exact(found, right):
    errors = [abs(x - y) for x, y in zip(found, right, strict=True)]
    wrong = [i for i, error in enumerate(errors) if error]
    for kind in (torch.tensor, lambda values: np.array(values, dtype=object)):
        verdict = compare(kind(found), torch.tensor(right))
        assert (verdict.mismatches, verdict.max_abs_error) == (len(wrong), max(errors))
        if wrong:
            place = wrong[0]
            assert (verdict.first.index, verdict.first.expected, verdict.first.found) == (
                (place,), right[place], found[place],
            )  # fmt: skip


class Redundant(DigitRules):
    """A third system: radix ``2**(b-1)``, low digits around 0, one more bit in the last one."""

    name = "redundant"

    def shift(self, bits):
        return bits - 1

    def low_digits(self, bits):
        return -(1 << (bits - 1)) // 2, (1 << (bits - 1)) // 2 - 1

    def digits(self, bits):
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


@pytest.mark.parametrize("strategy", ["row", "column", "mix", "block", "optimal"])
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_a_third_digit_system_is_one_object(monkeypatch, strategy, bits):
    monkeypatch.setattr(digits_module, "RULES", {"redundant": Redundant()})
    system = DigitSystem("redundant", bits)
    generator = np.random.default_rng(bits)
    pair = []
    for rows in (7, 5):
        values = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (1, rows, 9))
        values[generator.random(values.shape) < 0.1] = 2**40 + 11
        values[generator.random(values.shape) < 0.1] *= -3
        pair.append(torch.from_numpy(values))
    problem = unpacked(*pair, strategy, system, system)
    for product in problem.products:
        assert not bool(system.out_of_bound(torch.cat([dense(product.a), dense(product.b)])).any())
    found = pack_wide(problem, low_bit_results(problem))
    assert compare(found, python_product(*pair)).exact


def brute_greedy(values, bits):
    """Restate UnpackBoth step by step: always the line with the most out-of-bound entries.

    Returns the levels of rows and columns. Of equal lines it takes rows, then the first.
    """
    scale, matrix = 2 ** (bits - 1), values.copy()
    row_of, column_of = (list(range(size)) for size in values.shape)
    while True:
        over = np.abs(matrix) >= scale
        rows, columns = over.sum(1), over.sum(0)
        if not over.any():
            return np.bincount(row_of).tolist(), np.bincount(column_of).tolist()
        if rows.max() >= columns.max():
            i = rows.argmax()
            row_of.append(row_of[i])
            matrix = np.vstack([matrix, matrix[i] // scale])
            matrix[i] %= scale
        else:
            j = columns.argmax()
            column_of.append(column_of[j])
            matrix = np.hstack([matrix, matrix[:, [j]] // scale])
            matrix[:, j] %= scale


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_buckets_give_what_rescanning_gives(bits, seed):
    generator = np.random.default_rng(seed)
    values = (generator.standard_normal((13, 17)) ** 3 * 2**bits).astype(np.int64)
    operand = IntegerOperand(torch.from_numpy(values), DigitSystem("paper", bits))
    repeated = np.sort(generator.integers(0, 17, 9))
    for columns in (np.arange(17), np.concatenate([np.arange(17), repeated])):
        levels = cover(operand, 0, "both", torch.from_numpy(columns))
        expected = brute_greedy(values[:, columns], bits)
        assert (levels.rows.tolist(), levels.columns.tolist()) == expected
    whole = cover(operand, 0, "both")
    assert (whole.rows.tolist(), whole.columns.tolist()) == brute_greedy(values, bits)


@pytest.mark.parametrize("seed", range(30))
def test_lines_of_equal_counts_are_unpacked_in_order(seed):
    generator = np.random.default_rng(seed)
    values = np.where(generator.random((6, 7)) < 0.4, generator.integers(8, 5000, (6, 7)), 1)
    levels = cover(IntegerOperand(torch.from_numpy(values), DigitSystem("paper", 4)), 0, "both")
    assert (levels.rows.tolist(), levels.columns.tolist()) == brute_greedy(values, 4)


def test_balanced_digits_use_the_whole_range():
    system = DigitSystem("balanced", 4)
    assert system.count(torch.tensor([-8, 7, 8, -9])).tolist() == [1, 1, 2, 2]
    assert DigitSystem("paper", 4).count(torch.tensor([-8, 7, 8, -7])).tolist() == [2, 1, 2, 1]


def test_a_fitting_gemm_is_one_product_with_ratio_one():
    a, b = torch.ones(2, 3, 4, dtype=torch.int32), torch.ones(2, 5, 4, dtype=torch.int32)
    system = DigitSystem("balanced", 8)
    problem = unpacked(a, b, "mix", system, system)
    assert (problem.ratio, len(problem.products), problem.shift_adds) == (1.0, 2, 0)
    assert (problem.gather_bytes, problem.scatter_bytes) == (0, 0)


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
    assert [round_up(size, 16) for size in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert longest_k(8, 128, 128) == 0


def test_unknown_names_and_widths_are_refused():
    with pytest.raises(InputError, match="did you mean 'row/column'"):
        load_strategy("row/colum")
    with pytest.raises(InputError, match="digit system"):
        DigitSystem("binary", 8)
    with pytest.raises(InputError, match="2 to 16"):
        DigitSystem("paper", 1)
