"""Routes: what they give, what they say, and what was prepared ahead."""

import itertools
from bisect import bisect_left
from fractions import Fraction
from functools import cache

import pytest
import torch

from accelsim.arithmetic.bounds import longest_k
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError, UnsupportedError
from accelsim.measure.timing import StageTimer, Untimed
from accelsim.routes import (
    GeneralRoute,
    SimulatedRoute,
    expected,
    judge,
    open_route,
    wrong_floats,
)
from accelsim.routes.dequantizing import combined
from accelsim.routes.nearest import count_not_nearest
from accelsim.types import FUSED, PerOperand, Request, Rounding, StrategyChoice
from accelsim.unpack import DigitSystem, load_strategy
from gemm_backends import Accumulator, GemmBackend, Support, load_backend

UNTIMED = Untimed()
BALANCED = PerOperand.both(DigitSystem("balanced", 8))


def request(n=9, d=40, h=7, batch=1, beta=255.0, granularity="tensor", **changes):
    plain = {
        "shape": (batch, n, d, h),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "rounding": PerOperand.both(Rounding(95, beta, granularity, "nonzero")),
        "digits": BALANCED,
    }
    return Request(**{**plain, **changes})


def operands(*lead, n=9, d=40, h=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*lead, n, d, generator=generator)
    b = torch.randn(*lead, h, d, generator=generator)
    a[..., 3] *= 60
    b[..., 2, :] *= 9
    return a, b


ROUTES = {
    "mix": lambda r: open_route(r, "mix", load_backend("int64")),
    "block": lambda r: open_route(r, StrategyChoice("block", {"block": 4}), load_backend("int64")),
    "row": lambda r: open_route(r, load_strategy("row"), load_backend("cpu-int8")),
    "simulated": SimulatedRoute,
}


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("lead", [(), (3,)], ids=str)
@pytest.mark.parametrize("output", [None, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ROUTES)
def test_every_route_gives_the_same_integers_and_floats(name, output, lead, granularity):
    asked = request(granularity=granularity, output=output, batch=lead[0] if lead else 1)
    route = ROUTES[name](asked)
    for seed in range(2):
        a, b = operands(*lead, seed=seed)
        found = route.run(a, b, UNTIMED)
        route.check()
        assert tuple(found.shape) == (*lead, 9, 7)
        right = expected(asked, a, b)
        assert judge(route.integers(), right).exact
        qa, qb = (quantize(x, 95, 255, granularity, "nonzero") for x in (a, b))
        assert torch.equal(route.integers(), oracle(qa.values, qb.values))
        assert torch.equal(route.scales().a, qa.scale)
        if output is None:
            assert torch.equal(found, route.integers())
        else:
            assert found.dtype == output
            assert wrong_floats(found, right) == 0


@pytest.mark.parametrize("name", ROUTES)
def test_prepared_operands_hold_for_every_number_of_rows(name):
    asked = request(n=None, fixed=frozenset("b"))
    route = ROUTES[name](asked)
    _, b = operands()
    ready = route.prepare("b", b)
    for n in (1, 2, 9, 31):
        a, _ = operands(n=n, seed=n)
        route.run(a, ready, UNTIMED)
        assert judge(route.integers(), expected(asked, a, b)).exact


class Counting(GemmBackend):
    name, bits, accumulator = "counting", 8, Accumulator(32, "wrap")

    def __init__(self):
        self.laid_out = 0

    def prepare(self, digits):
        self.laid_out += 1
        return digits

    def matmul(self, a, b):
        return a.int() @ b.int().mT


@pytest.mark.parametrize("fixed", ["a", "b", "ab"])
def test_what_was_prepared_is_not_done_again(fixed):
    backend = Counting()
    asked = request(fixed=frozenset(fixed))
    route = GeneralRoute(asked, load_strategy("row"), backend)
    pair = dict(zip("ab", operands(), strict=True))
    given = {side: route.prepare(side, x) if side in fixed else x for side, x in pair.items()}
    assert backend.laid_out == len(fixed)
    for run in range(1, 4):
        route.run(given["a"], given["b"], UNTIMED)
        assert backend.laid_out == len(fixed) + run * (2 - len(fixed))
        assert route.counts().prepared == tuple(fixed)


def test_nothing_is_claimed_where_digits_are_new_in_every_run():
    a, b = operands()
    for backend, strategy in (
        (load_backend("int64"), "column"),
        (load_backend("emulator", bits=8, accumulator_bits=20), "row"),  # K is cut
    ):
        route = open_route(request(fixed=frozenset("b")), strategy, backend)
        ready = route.prepare("b", b)
        for _ in range(2):
            route.run(a, ready, UNTIMED)
            assert route.counts().prepared == ()
            assert judge(route.integers(), expected(request(), a, b)).exact


def test_a_prepared_operand_belongs_to_its_route_and_side():
    a, b = operands()
    routes = [ROUTES["mix"](request()) for _ in range(2)]
    ready = routes[0].prepare("b", b)
    for x, y, route in ((a, ready, routes[1]), (ready, b, routes[0])):
        with pytest.raises(InputError, match="another route, or as the other operand"):
            route.run(x[..., :40] if isinstance(x, torch.Tensor) else x, y, UNTIMED)
    with pytest.raises(InputError, match="another route"):
        SimulatedRoute(request()).run(a, ready, UNTIMED)


def test_a_prepared_weight_that_went_stale_is_seen():
    """The verdict rounds the floats as they are, not what was prepared of them."""
    a, b = operands()
    asked = request(fixed=frozenset("b"))
    for name in ROUTES:
        route = ROUTES[name](asked)
        ready = route.prepare("b", b.clone())
        b_now = b * torch.linspace(0.5, 2, 40)
        route.run(a, ready, UNTIMED)
        assert judge(route.integers(), expected(asked, a, b)).exact
        assert not judge(route.integers(), expected(asked, a, b_now)).exact


def test_what_is_only_counted_has_the_counts_of_a_run():
    """Also where A and B are rounded, written in digits and unpacked in different ways."""
    asked = request(
        rounding=PerOperand(Rounding(95, 255), Rounding(90, 15)),
        digits=PerOperand(DigitSystem("balanced", 8), DigitSystem("balanced", 3)),
    )
    a, b = operands()
    for strategy in ("row/column", "column/row", "mix"):
        route = open_route(asked, strategy, load_backend("int64"))
        route.run(a, b, UNTIMED)
        rounded = route.rounded(a, b)
        assert torch.equal(rounded.a.values, quantize(a, 95, 255).values)
        assert torch.equal(rounded.b.values, quantize(b, 90, 15).values)
        assert route.count(route.unpacked(rounded)) == route.counts()


class Refusing(Counting):
    def supports(self, spec):
        return Support(spec.h < 5, "too many columns")


def test_digits_that_a_backend_refuses_are_not_shown_to_it():
    a, b = operands()
    b[2] /= 9  # so that no row needs a further one
    for rows, laid_out in ((4, 1), (7, 0)):
        backend = Refusing()
        asked = request(fixed=frozenset("b"), h=rows, beta=31.0)
        route = GeneralRoute(asked, load_strategy("row"), backend)
        ready = route.prepare("b", b[:rows])
        assert backend.laid_out == laid_out
    with pytest.raises(UnsupportedError, match="too many columns"):
        route.run(a, ready, UNTIMED)


def test_a_verdict_says_which_integer_was_found_and_which_was_right():
    asked = request()
    right = expected(asked, *operands())
    found = right.integers[0].clone()
    found[2, 3] += 5
    first = judge(found, right).first
    assert (first.index, first.found - first.expected) == ((0, 2, 3), 5)
    assert first.expected == int(right.integers[0, 2, 3])


@pytest.mark.parametrize("name", ROUTES)
def test_stages(name):
    timer = StageTimer()
    route = ROUTES[name](request(output=torch.float32))
    with timer.repeat():
        route.run(*operands(), timer)
    stages = ["quantize", "unpack", "prepare", "gemm", "pack", "dequantize"]
    if name == "simulated":
        stages = ["quantize", "gemm", "dequantize"]
    assert [*timer.summary()] == [*stages, "total"]


@pytest.mark.parametrize(("d", "split"), [(31, False), (32, True), (63, True)])
def test_k_is_cut_where_the_accumulator_needs_it(d, split):
    """Every digit is -128, so that the bound is reached exactly."""
    assert longest_k(20, 128, 128) == 31
    backend = load_backend("emulator", bits=8, accumulator_bits=20, overflow="wrap")
    asked = request(3, d, 2, rounding=PerOperand.both(Rounding(100, 256)))
    a, b = torch.full((3, d), -1.0), torch.full((2, d), -1.0)
    route = open_route(asked, "row", backend)
    route.run(a, b, UNTIMED)
    assert judge(route.integers(), expected(asked, a, b)).exact
    assert (route.counts().products > 1) == split
    whole = open_route(
        request(3, d, 2, rounding=PerOperand.both(Rounding(100, 256)), k_split="never"),
        "row", backend,
    )  # fmt: skip
    whole.run(a, b, UNTIMED)
    assert judge(whole.integers(), expected(asked, a, b)).exact != split
    assert bool(whole.counts().overflows) == split


def test_nan_is_an_error_with_the_operands_name():
    a, b = operands()
    b[1, 3] = torch.nan
    asked = request(names=PerOperand("the one", "the other"))
    for name in ROUTES:
        with pytest.raises(DataError, match=r"the other: found nan at \[1, 3\]"):
            ROUTES[name](asked).run(a, b, UNTIMED)


def test_what_was_forgotten_is_not_made_up():
    route = ROUTES["mix"](request())
    route.run(*operands(), UNTIMED)
    route.forget()
    for ask in (route.integers, route.scales, route.counts):
        with pytest.raises(InputError, match="no last run"):
            ask()


def test_a_backend_without_a_fused_route_says_so():
    for strategy in (FUSED, StrategyChoice(FUSED)):
        with pytest.raises(UnsupportedError, match="'int64' has no fused route"):
            open_route(request(), strategy, load_backend("int64"))


def test_integers_beyond_int64():
    asked = request(3, 64, 4, rounding=PerOperand.both(Rounding(100, 4294967000.0)))
    a, b = operands(n=3, d=64, h=4)
    for route in (open_route(asked, "row", load_backend("int64")), SimulatedRoute(asked)):
        found = route.run(a, b, UNTIMED)
        right = expected(asked, a, b)
        assert not isinstance(right.integers, torch.Tensor)
        assert judge(found, right).exact
        found[1, 2] += 1
        assert judge(found, right).first.index == (0, 1, 2)


@cache
def grid_of(dtype):
    """Every finite magnitude of a 16-bit type, rising, as a fraction; its place is its bits."""
    patterns = torch.arange(0x7C00 if dtype == torch.float16 else 0x7F80, dtype=torch.int16)
    return [Fraction(float(x)) for x in patterns.view(dtype).double()]


def nearest(integers, scale, dtype):
    """Round in exact rational arithmetic."""
    grid, quotient = grid_of(dtype), Fraction(abs(integers)) / scale
    above = bisect_left(grid, quotient)
    candidates = range(max(above - 1, 0), min(above + 1, len(grid)))
    best = min(candidates, key=lambda i: (abs(grid[i] - quotient), i & 1))
    return float(grid[best]) * (-1 if integers < 0 else 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_floats_that_are_not_the_nearest_are_counted(dtype):
    values = [0, 1, -1, 359 * 49, 357 * 49, -359 * 49, 2**61 + 1, 12345, 49 * 2049, 49 * 65519, 3]
    for tie in (2**61 + 2**53, 2**61 + 2**50):  # of bfloat16, and of float16 at a scale of 2^46
        values += [tie - 1, tie, tie + 1]
    for scale in (49.0, 1.0, 2.0**46, 2.0**70, 2.0**70 * (1 + 2.0**-40), 3.7):
        exact = Fraction(scale)
        right = torch.tensor([nearest(v, exact, dtype) for v in values], dtype=torch.float64)
        beyond = torch.tensor([abs(Fraction(v) / exact) >= 65520 for v in values])
        if dtype == torch.float16:
            right = torch.where(beyond, torch.tensor(values).double().sign() * torch.inf, right)
        floats = right.to(dtype)
        whole, wide = torch.tensor(values), torch.tensor(values).numpy().astype(object)
        one = torch.tensor(scale, dtype=torch.float64)
        assert count_not_nearest(floats, whole, one) == 0, scale
        assert count_not_nearest(floats, wide, one) == 0, scale
        bits = floats.view(torch.int16)
        for place, step in itertools.product(range(len(values)), (-1, 1)):
            moved = bits.clone()
            moved[place] += step
            if (moved[place] & 0x7FFF) <= (0x7C00 if dtype == torch.float16 else 0x7F80):
                found = count_not_nearest(moved.view(dtype), whole, one)
                assert found == (0 if moved[place] & 0x7FFF == 0 and floats[place] == 0 else 1)
        floats[3] = torch.nan
        assert count_not_nearest(floats, whole, one) == 1


@pytest.mark.parametrize("exponents", [PerOperand(3, 5), PerOperand(-4, 2), PerOperand(0, 7)])
def test_powers_of_two_of_both_operands_multiply(exponents):
    scales = PerOperand(torch.tensor([[3.0], [5.0]]), torch.tensor([[7.0], [11.0], [13.0]]))
    expected = [[a * b * 2.0 ** (exponents.a + exponents.b) for b in (7, 11, 13)] for a in (3, 5)]
    assert combined(scales, exponents).tolist() == expected
