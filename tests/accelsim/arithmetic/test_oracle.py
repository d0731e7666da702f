"""The oracle and its verdict, against Python's integers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accelsim.arithmetic import oracle as module
from accelsim.arithmetic.oracle import Mismatch, compare, oracle
from accelsim.arithmetic.sparse import SparseDigits


def by_hand(a, b):
    return [[sum(x * y for x, y in zip(r, c, strict=True)) for c in b] for r in a]


@st.composite
def operands(draw):
    """Draw two matrices whose entries have any number of bits up to 62."""
    n, d, h = (draw(st.integers(0, 3)) for _ in range(3))

    def matrix(rows):
        bits = draw(st.sampled_from([1, 8, 15, 16, 17, 26, 31, 32, 33, 47, 48, 49, 62]))
        entries = st.integers(-(2**bits) + 1, 2**bits - 1)
        return [[draw(entries) for _ in range(d)] for _ in range(rows)]

    return matrix(n), matrix(h), d


@given(operands())
def test_it_is_the_product(case):
    a, b, d = case
    left = torch.tensor(a, dtype=torch.int64).reshape(len(a), d)
    right = torch.tensor(b, dtype=torch.int64).reshape(len(b), d)
    found = oracle(left, right)
    assert np.array(found.tolist(), dtype=object).reshape(len(a), len(b)).tolist() == by_hand(a, b)
    assert oracle(left[None], right[None]).tolist() == [found.tolist()]
    assert compare(found, np.array(by_hand(a, b), dtype=object).reshape(len(a), len(b))).exact


@pytest.mark.parametrize("top", [2**52, 2**53, 2**54, 2**62, 2**63, 2**64, 2**124 - 2**63])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_that_are_just_at_a_bound(top, beyond, sign):
    value = top + beyond
    root = 2 ** min(61, (top.bit_length() - 1) // 2)
    high, rest = divmod(value, root)
    if high >= 2**62:
        high, rest = 2**62 - 1, value - (2**62 - 1) * root
    a = [[root, rest // 2**61, rest % 2**61]]
    b = [[sign * high, sign * 2**61, sign]]
    assert by_hand(a, b) == [[sign * value]]
    found = oracle(torch.tensor(a), torch.tensor(b))
    assert found.tolist() == [[sign * value]]


@pytest.mark.parametrize(
    ("d", "a", "b", "wide"),
    [
        (1, 2**62 - 1, 2, False),
        (2, 2**31, 2**31, True),
        (2, 2**31, 2**31 - 1, False),
        (2, 2**61, 2, True),
    ],
)
def test_integers_are_wide_where_int64_is_not_proved_to_be_enough(d, a, b, wide):
    found = oracle(torch.full((1, d), a), torch.full((1, d), -b))
    assert isinstance(found, np.ndarray) == wide
    assert found.tolist() == [[-d * a * b]]
    assert isinstance(found[0][0], int) if wide else found.dtype == torch.int64


@pytest.mark.parametrize(("value", "products"), [(2**26 - 1, 1), (2**26, 4)])
def test_what_float64_holds_takes_one_product(value, products, monkeypatch):
    seen, multiply = [], module._float64_product
    monkeypatch.setattr(module, "_float64_product", lambda a, b: seen.append(a) or multiply(a, b))
    assert oracle(torch.full((1, 2), value), torch.full((1, 2), value)).item() == 2 * value**2
    assert len(seen) == products


@pytest.mark.parametrize("bits", [15, 16, 17, 31, 32, 33, 48])
@pytest.mark.parametrize("value", [lambda top: top, lambda top: -top, lambda top: top - 1])
def test_parts_are_what_their_integers_are(bits, value):
    number = value(2**bits)
    parts = module._parts(torch.tensor([number, -3]), max(abs(number), 3))
    assert [sum(int(part[i]) << shift for part, shift in parts) for i in (0, 1)] == [number, -3]
    assert all(int(part.abs().max()) <= 2**16 for part, _ in parts)


def test_long_sums_are_cut_where_float64_would_end():
    d = 2**20 + 3
    a, b = torch.full((1, d), 2**16 - 1), torch.full((1, d), 2**16 - 1)
    a[0, -1] = b[0, -1] = 1
    assert oracle(a, b).item() == (d - 1) * (2**16 - 1) ** 2 + 1


def test_equal_products():
    x = torch.tensor([[1, -2], [3, 4]])
    assert compare(x, x.clone()) == module.Verdict(0, 0)
    assert compare(x, np.array([[1, -2], [3, 4]], dtype=object)) == module.Verdict(0, 0)
    assert compare(torch.empty(0, 3), torch.empty(0, 3)).exact


@pytest.mark.parametrize("wide", [(False, False), (True, False), (False, True), (True, True)])
def test_the_first_and_the_largest_difference(wide):
    found, right = [[5, 7, -9], [0, 1, 2]], [[5, 8, -9], [0, 1, -40]]
    x, y = (
        np.array(values, dtype=object) if is_wide else torch.tensor(values)
        for values, is_wide in zip((found, right), wide, strict=True)
    )
    verdict = compare(x, y)
    assert not verdict.exact
    assert (verdict.mismatches, verdict.max_abs_error) == (2, 42)
    assert verdict.first == Mismatch((0, 1), expected=8, found=7)


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (2**63 - 1, -(2**63)),
        (-(2**63), 2**63 - 1),
        (2**62, -(2**62)),
        (0, -(2**63)),
        (-1, 0),
        (1, 0),
        (2**63 - 1, 0),
    ],
)
def test_differences_of_up_to_64_bits(found, right):
    x, y = torch.tensor([[found, 3, 3]]), torch.tensor([[right, 4, 3]])
    assert compare(x, y).max_abs_error == max(abs(found - right), 1)
    assert compare(x, y).mismatches == 2


@given(st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=4))
def test_sparse_digits_are_the_matrix(rows):
    dense = torch.tensor(rows, dtype=torch.int8)
    index, columns = dense.nonzero().T
    sparse = SparseDigits.from_entries(index, columns, dense[index, columns], (len(rows), 4))
    counts = [sum(value != 0 for value in row) for row in rows]
    assert torch.equal(sparse.to_dense(), dense)
    assert sparse.entries == sum(counts)
    assert sparse.longest_row == max(counts)
    assert sparse.row_of_entry.tolist() == index.tolist()
    assert sparse.dtype == torch.int8
    assert sparse.nbytes == 8 * (len(rows) + 1) + 9 * sum(counts)
    assert torch.equal(sparse.transposed().to_dense(), dense.T)
    for start in range(4):
        for stop in range(start, 6):
            part = sparse.between(start, stop)
            assert torch.equal(part.to_dense(), dense[:, start:stop])


def test_sparse_digits_without_rows():
    none = torch.empty(0, dtype=torch.int64)
    sparse = SparseDigits.from_entries(none, none, none.to(torch.int8), (0, 3))
    assert sparse.longest_row == 0
    assert sparse.to_dense().shape == (0, 3)
