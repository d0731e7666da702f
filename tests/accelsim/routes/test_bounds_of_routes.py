"""Proofs of exactness in routes, at their bounds."""

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import UnsupportedError
from accelsim.measure.timing import Untimed
from accelsim.routes import simulated
from accelsim.routes.lanes import corrections_of, proved_in_place
from accelsim.routes.simulated import RoundedOperand, SimulatedRoute
from accelsim.types import PerOperand, Request, Rounding
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from accelsim.unpack.corrected import in_place
from gemm_backends import Accumulator

SYSTEM = DigitSystem("balanced", 8)


def simulate(a, b):
    """Multiply integers, given as float32, by the simulated route; return nested lists."""
    request = Request(
        shape=(1, a.shape[0], a.shape[1], b.shape[0]),
        device=torch.device("cpu"),
        dtype=torch.float32,
        rounding=PerOperand.both(Rounding()),
        digits=PerOperand.both(SYSTEM),
    )
    route = SimulatedRoute(request)
    operands = [quantize(x, percentile=100, beta=2 * float(x.abs().max())) for x in (a, b)]
    assert [float(operand.scale) for operand in operands] == [1.0, 1.0]
    left, right = (
        RoundedOperand(side, operand.operand.shape, operand)
        for side, operand in zip("ab", operands, strict=True)
    )
    return route.run(left, right, Untimed()).tolist()


def products(monkeypatch):
    """Return the types of the matrix products that follow, as they come."""
    seen = []
    multiply = torch.Tensor.__matmul__

    def spy(a, b):
        seen.append(a.dtype)
        return multiply(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", spy)
    return seen


@pytest.mark.parametrize("limit", [2**24, 2**53])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 3])
def test_sums_around_what_a_type_holds(limit, beyond):
    half = 2 ** ((limit.bit_length() - 1) // 2)
    a = torch.tensor([[half, 1, 1]], dtype=torch.float32)
    b = torch.tensor([[limit // half, beyond - 1, 1]], dtype=torch.float32)
    assert simulate(a, b) == [[limit + beyond]]


@pytest.mark.parametrize(
    ("a", "b", "dtypes"),
    [
        (4095, 4095, [torch.float32]),
        (4096, 4096, [torch.float64]),
        (2**26 - 2**3, 2**26, [torch.float64]),
        (2**27, 2**26, []),
    ],
)
def test_the_type_is_proved_at_the_bound(monkeypatch, a, b, dtypes):
    monkeypatch.setattr(simulated, "oracle", lambda x, y: torch.tensor([[int(x) * int(y)]]))
    seen = products(monkeypatch)
    assert simulate(torch.tensor([[float(a)]]), torch.tensor([[float(b)]])) == [[a * b]]
    assert seen == dtypes


def test_without_full_float32_it_is_float64(monkeypatch):
    monkeypatch.setattr(simulated, "float32_is_ieee", lambda device: False)
    seen = products(monkeypatch)
    assert simulate(torch.ones(1, 1), torch.ones(1, 1)) == [[1]]
    assert seen == [torch.float64]


@pytest.mark.parametrize("large", [[], [0], [0, 7], [0, 1, 2]])
def test_rows_that_leave_float32_are_multiplied_in_float64(large, monkeypatch):
    torch.manual_seed(0)
    a = torch.randint(-15, 16, (8, 16)).float()
    b = torch.randint(-15, 16, (4, 16)).float()
    a[large, 0] = 2.0**23 - 1
    b[:, 0] = torch.tensor([7, 5, 3, 9])
    expected = (a.long()[:, None] * b.long()[None]).sum(2).tolist()
    seen = products(monkeypatch)
    assert simulate(a, b) == expected
    assert torch.tensor(simulate(b, a)).T.tolist() == expected
    wide, narrow = torch.float64, torch.float32
    ways = {0: [narrow] * 2, 1: [narrow, wide] * 2, 2: [narrow, wide] * 2, 3: [wide] * 2}
    assert seen == ways[len(large)]


@pytest.mark.parametrize("heads", [[], [1], [0, 2]])
def test_rows_of_heads_that_leave_float32_are_multiplied_in_float64(heads, monkeypatch):
    torch.manual_seed(0)
    a, b = (torch.randint(-15, 16, (3, rows, 16)).float() for rows in (8, 4))
    a[heads, 5, 0] = 2.0**23 - 1
    b[:, :, 0] = torch.tensor([7, 5, 3, 9])
    expected = (a.long()[:, :, None] * b.long()[:, None]).sum(3).tolist()
    seen = products(monkeypatch)
    assert simulate(a, b) == expected
    assert seen == [torch.float32] + [torch.float64] * len(heads)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_norms_bound_the_rows(rows):
    torch.manual_seed(rows)
    x = torch.randint(-(2**20), 2**20, (rows, 1000)).float()
    x[0] = 2.0**24 - 1
    quantized = quantize(x, percentile=100, beta=2 * float(x.abs().max()))
    found = RoundedOperand("a", x.shape, quantized).norms
    for norm, row in zip(found.tolist(), x.long().tolist(), strict=True):
        squares = sum(value * value for value in row)
        assert norm**2 >= squares
        assert norm**2 <= squares * 1.001


def corrected(a, b):
    """Return the one product that corrects A @ B.T in place."""
    operands = (IntegerOperand(x, SYSTEM) for x in (a, b))
    (product,) = in_place(load_strategy("block", 1).unpack(*operands).products)
    return product


def parts(product, bits, overflow="wrap"):
    return len(proved_in_place(product, Accumulator(bits=bits, overflow=overflow)))


@pytest.mark.parametrize(("bits", "expected"), [(40, 1), (33, 1), (32, 2), (31, 4), (30, 8)])
def test_k_is_halved_until_the_lanes_cannot_overflow(bits, expected):
    """Eight products of 2^28, alike or not, need 33 bits."""
    a, b = torch.full((2, 8), 2**14), torch.full((3, 8), -(2**14))
    a[0, ::2] = b[0, 1::2] = 77
    assert parts(corrected(a, b), bits) == expected


def test_every_part_is_proved():
    """Only the first half of the columns is heavy."""
    a, b = torch.ones(1, 8, dtype=torch.int64), torch.full((1, 8), 2**14)
    a[0, :4] = 2**14
    assert parts(corrected(a, b), 32) == 1
    assert parts(corrected(a, b), 31) == 4
    assert parts(corrected(a.flip(1), b), 31) == 4


def test_backends_are_given_the_high_digits_of_each_side():
    product = corrected(torch.tensor([[300, 1], [2, -700]]), torch.tensor([[3, 4], [500, 6]]))
    given = corrections_of(product)
    for high, side, dense in ((given.a, product.high_a, [1, 2]), (given.b, product.high_b, [1])):
        assert high.digits is side.digits
        assert high.digits.entries == len(dense)
        assert high.index.tolist() == side.index.tolist()
        assert high.exponent.tolist() == side.exponent.tolist()


def test_an_accumulator_for_no_single_column_is_refused():
    product = corrected(torch.full((1, 8), 2**14), torch.full((1, 8), 2**14))
    with pytest.raises(UnsupportedError, match="29-bit accumulator that the lanes add to"):
        parts(product, 29)


@pytest.mark.parametrize(
    ("a", "b", "d", "bits", "expected"), [(257, 102, 5, 18, 1), (151, 31, 7, 16, 2)]
)
def test_lanes_just_within_the_bound_and_at_it(a, b, d, bits, expected):
    assert a * b * d == 2 ** (bits - 1) - 1 - (expected == 1)
    product = corrected(torch.full((1, d), a), torch.full((1, d), b))
    assert parts(product, bits) == expected


@pytest.mark.parametrize(("overflow", "expected"), [("wrap", 1), ("saturate", 2), ("error", 2)])
@pytest.mark.parametrize("swapped", [False, True])
def test_registers_that_do_not_wrap_count_every_partial_sum(overflow, expected, swapped):
    """255 is 256 - 1, so that 257 times the other entry may be added on the way."""
    a, b = torch.full((1, 4), 255), torch.full((1, 4), -128)
    assert 4 * 255 * 128 < 2**17 <= 4 * 257 * 128
    product = corrected(b, a) if swapped else corrected(a, b)
    assert parts(product, 18, overflow) == expected
