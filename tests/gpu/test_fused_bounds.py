"""The fused route at its bounds: the last value that fits, and the first that does not."""

import pytest
import torch
from drawing import draw
from test_fused_route_on_cuda import TIMER, assert_exact, open_route

from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused import planner
from gemm_backends.cuda.fused.columns import ColumnsWay

DEVICE = torch.device("cuda")


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


@pytest.fixture
def columns(monkeypatch):
    """Small shapes take slots and places, too."""
    monkeypatch.setattr(planner, "ASIDE", 0)
    monkeypatch.setattr(planner, "COPIED_BYTE", 0)


def ones(rows, d, dtype=torch.float32):
    """1 and -1, whose integers are themselves for a beta of 2."""
    generator = torch.Generator(DEVICE).manual_seed(rows)
    signs = torch.randint(0, 2, (rows, d), generator=generator, device=DEVICE)
    return (2 * signs - 1).to(dtype)


def edges():
    """The largest and smallest integers of one to four digits, and the first beyond them."""
    for digits in (1, 2, 3, 4):
        highest = sum(127 << 8 * level for level in range(digits))
        lowest = -sum(128 << 8 * level for level in range(digits))
        yield from (highest, highest + 1, lowest, lowest - 1)


@pytest.mark.parametrize("fixed", ["", "a"])
def test_integers_at_the_bounds_of_digits(fixed):
    """Beyond 2^24 the nearest float32 is taken, which lies on the far side of the bound."""
    b = ones(24, 300)
    b[5, 77] = 3
    for edge in edges():
        a = ones(40, 300)
        route = open_route(a, b, 2.0, fixed=fixed)
        if not fixed:
            assert_exact(route, route.run(a, b, TIMER), a, b)
        a[3, 77] = edge
        given = route.prepare("a", a) if fixed else a
        assert_exact(route, route.run(given, b, TIMER), a, b)


def test_halves_up_to_where_floats_have_none():
    """Ties of every binade up to 2^24, where two roundings to nearest even meet."""
    a, b = ones(40, 300), ones(24, 300)
    for power in range(20, 25):
        start = 2.0**power
        step = 2.0 ** (power - 23)
        values = [start + k * step for k in range(-3, 9)] + [1.5 * start + k * step for k in (1, 3)]
        a[7, : len(values)] = torch.tensor(values, device=DEVICE)
        a[9, : len(values)] = -a[7, : len(values)]
        route = open_route(a, b, 2.0)
        assert_exact(route, route.run(a, b, TIMER), a, b)


def test_every_block_of_rows_has_places_of_its_own(columns):
    """Blocks of 256 rows with high parts in other columns each, and in others in the next run."""
    a, b = draw("plain", 900, 2048, 520, torch.bfloat16, DEVICE)
    b[5, 7] = 60
    kept, route = a.clone(), open_route(a, b)
    for step in (11, 13):
        a.copy_(kept)
        for block in range(4):
            rows = torch.arange(100, device=DEVICE) + 256 * block
            a[rows, 500 * block + step * torch.arange(100, device=DEVICE) % 500] = -60
        assert_exact(route, route.run(a, b, TIMER), a, b)
        way = route._last.way
        assert isinstance(way, ColumnsWay)
        assert way.plan.a.place_tiles == 1
    assert route.counts().replans == 0


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("extra", [0, 1])
def test_a_row_that_fills_its_list_and_one_more(side, extra, columns):
    a, b = draw("plain", 300, 512, 520, torch.bfloat16, DEVICE)
    x = a if side == "a" else b
    x[11, 5:13] = 60
    route = open_route(a, b)
    assert_exact(route, route.run(a, b, TIMER), a, b)
    way = route._last.way
    assert isinstance(way, ColumnsWay)
    assert not way.plan.surveyed
    room = way.plan.a.list_length if side == "a" else way.plan.b.list_length
    x[11] = x[11].clamp(-1, 1)
    x[17, 100 : 100 + room + extra] = -60
    assert_exact(route, route.run(a, b, TIMER), a, b)
    assert route.counts().replans == extra


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_products_of_two_high_parts_that_fill_a_list_and_more(extra, columns):
    """They are those of the first of two tiles of C: what does not fit must not reach the other."""
    a, b = draw("plain", 100, 512, 300, torch.bfloat16, DEVICE)
    a[7, 30] = b[9, 40] = 60
    route = open_route(a, b)
    assert_exact(route, route.run(a, b, TIMER), a, b)
    way = route._last.way
    assert isinstance(way, ColumnsWay)
    room = way.plan.cross_length
    assert room > 0
    wanted = room + extra
    a[7, 30] = b[9, 40] = 0
    met = torch.arange(50, 50 + -(-wanted // 3), device=DEVICE)
    a[7, met] = -70
    for line in range(3):
        b[20 + line, met[: (wanted + 2 - line) // 3]] = 80
    assert_exact(route, route.run(a, b, TIMER), a, b)
    assert route.counts().replans == (extra > 0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("power", [20, 52])
def test_sums_at_the_limits_of_their_types(power, sign):
    """2^11 products of 2^20 or 2^52 come to 2^31 and 2^63: one beyond int32 and int64."""
    a = torch.full((5, 2048), 2.0 ** (power // 2), device=DEVICE)
    b = sign * a[:4]
    route = open_route(a, b, 2.0 * float(a[0, 0]))
    route.run(a, b, TIMER)
    route.check()
    integers = route.integers()
    assert {int(x) for x in integers.flatten().tolist()} == {sign * 2 ** (power + 11)}


@pytest.mark.parametrize("present", [13, 14, 15, 16, 17])
def test_an_alpha_that_is_the_smallest_of_those_present(present):
    """A row's 95th percentile of 300 entries is the 15th largest."""
    a, b = ones(40, 300), ones(24, 300)
    a[3] = 0
    a[3, 10 : 10 + present] = torch.arange(1, present + 1, device=DEVICE).float()
    route = open_route(a, b, 31.0, zero_alpha="nonzero", granularity="row")
    assert_exact(route, route.run(a, b, TIMER), a, b)


@pytest.mark.parametrize("ratio", [1e-30, 1e30, float("inf"), -1.0, float("nan")])
def test_a_guess_changes_no_scale(ratio):
    """What one row left as a guess for others is far below, far above, or no number."""
    a, b = draw("scattered", 300, 1384, 200, torch.float32, DEVICE)
    route = open_route(a, b, granularity="row")
    out = route.run(a, b, TIMER)
    for rounder in route._operands._rounders.values():
        rounder.ratio.fill_(ratio)
    again = route.run(a, b, TIMER)
    assert_exact(route, again, a, b)
    assert torch.equal(out, again)
