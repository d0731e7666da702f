"""The fused route: every integer equal to the oracle's, every float rounded once, any value."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import draw
from fused_fuzz import exact_product, reference_integers
from quotient import rounded_quotient
from safetensors.torch import load_file

from accelsim.arithmetic.digits import DigitSystem
from accelsim.errors import DataError, InputError
from accelsim.measure.graph import GraphedRun
from accelsim.measure.timing import StageTimer, Untimed
from accelsim.types import PerOperand, Request, Rounding
from gemm_backends import load_backend
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused import planner
from gemm_backends.cuda.fused.columns import ColumnsWay
from gemm_backends.cuda.fused.dense import DenseWay
from gemm_backends.types import Support

DEVICE = torch.device("cuda")
TIMER = Untimed()


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


@pytest.fixture
def columns(monkeypatch):
    """Small shapes take slots and places, too."""
    monkeypatch.setattr(planner, "ASIDE", 0)
    monkeypatch.setattr(planner, "COPIED_BYTE", 0)


def request(a, b, beta=31.0, percentile=95.0, output="same", fixed=(), **rounding):
    lead = a.shape[:-2].numel()
    return Request(
        shape=(lead, a.shape[-2], a.shape[-1], b.shape[-2]),
        device=a.device,
        dtype=a.dtype,
        rounding=PerOperand.both(Rounding(percentile, beta, **rounding)),
        digits=PerOperand.both(DigitSystem("balanced", 8)),
        fixed=frozenset(fixed),
        output=a.dtype if output == "same" else output,
        names=PerOperand("activations", "weights"),
    )


def open_route(*args, **kwargs):
    return load_backend("cutlass-int8").fused(request(*args, **kwargs))


def assert_exact(route, out, a, b):
    route.check()
    asked = route._request
    (qa, sa), (qb, sb) = (
        reference_integers(x, asked.rounding.of(side)) for side, x in (("a", a), ("b", b))
    )
    product = exact_product(qa, qb)
    assert torch.equal(route.integers(), product)
    assert torch.equal(route.scales().a, sa)
    assert torch.equal(route.scales().b, sb)
    if asked.output is None:
        assert torch.equal(out, product)
    else:
        scale = sa.double() * (sb.double().mT if sb.ndim else sb.double())
        assert torch.equal(out, rounded_quotient(product, scale, asked.output))
    counts = route.counts()
    for found, entries, digits, q in (
        (counts.out_of_bound_a, counts.entries_a, counts.max_digits_a, qa),
        (counts.out_of_bound_b, counts.entries_b, counts.max_digits_b, qb),
    ):
        assert found == int(((q < -128) | (q > 127)).sum())
        assert entries == q.numel()
        assert digits == int(DigitSystem("balanced", 8).count(q).max())


@pytest.mark.parametrize("kind", ["plain", "channels", "scattered"])
@pytest.mark.parametrize("beta", [15.0, 31.0, 127.0, 255.0, 1023.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(512, 1024, 768), (300, 1100, 260), (77, 1031, 1003)])
def test_exact(kind, beta, dtype, shape, columns):
    a, b = draw(kind, *shape, dtype, DEVICE)
    route = open_route(a, b, beta)
    prepared = route.prepare("b", b)
    assert_exact(route, route.run(a, prepared, TIMER), a, b)
    assert route.counts().prepared == ("b",)
    assert route.counts().replans == 0


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("lead", [(), (1,), (3,)])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (2, 3, 5), (17, 64, 33), (128, 257, 129), (0, 5, 3), (3, 0, 5), (5, 3, 0)],
)
@pytest.mark.parametrize("output", ["same", None, torch.float32, torch.float16])
def test_any_shape(shape, lead, granularity, output):
    n, d, h = shape
    generator = torch.Generator(DEVICE).manual_seed(n + d + h)
    a, b = (
        torch.randn((*lead, rows, d), generator=generator, device=DEVICE, dtype=torch.bfloat16) ** 3
        for rows in (n, h)
    )
    route = open_route(a, b, 300.0, 80.0, output, granularity=granularity)
    out = route.run(a, b, TIMER)
    assert out.shape == (*lead, n, h)
    assert out.dtype == (torch.int64 if output is None else route._request.output)
    route.check()
    assert route.integers().shape == out.shape
    if 0 not in shape:
        assert_exact(route, out, a, b)
    else:
        assert not out.any()
        assert route.counts().dense_macs == 0


def test_high_parts_meet_that_the_sample_had_none_of(columns):
    """What was dropped without a word: the plan was made where no two high parts met."""
    a, b = draw("plain", 300, 512, 520, torch.bfloat16, DEVICE)
    columns = torch.arange(0, 200, 2, device=DEVICE)
    a[columns, columns] = 60
    b[columns, columns + 1] = -70
    route = open_route(a, b)
    assert_exact(route, route.run(a, b, TIMER), a, b)
    way = route._last.way
    assert isinstance(way, ColumnsWay)
    met = a.clone()
    met[columns] = met[columns].roll(1, dims=1)
    out = route.run(met, b, TIMER)
    assert_exact(route, out, met, b)


@pytest.mark.parametrize(
    ("name", "percentile", "beta"),
    [("met-at-beta-31", 99.5, 31.0), ("met-at-beta-127", 90.0, 127.0)],
)
def test_drawn_operands_whose_high_parts_meet_after_the_plan(name, percentile, beta, columns):
    """Two of the twelve drawn cases in which entries were wrong and the check passed."""
    drawn = load_file(Path(__file__).parent / "operands" / f"{name}.safetensors", device="cuda")
    a, b, then = drawn["a_first"], drawn["b"], drawn["a_then"]
    for output in ("same", None):
        route = open_route(a, b, beta, percentile, output)
        assert_exact(route, route.run(a, b, TIMER), a, b)
        assert_exact(route, route.run(then, b, TIMER), then, b)


def test_heavy_columns_with_two_high_digits_in_both_operands(columns):
    a, b = draw("plain", 300, 512, 520, torch.bfloat16, DEVICE)
    a[::2, 9] = 3000
    a[5, 77] = -3000
    b[::5, 9] = -3000
    b[7, 77] = 3000
    route = open_route(a, b, 15.0, 50.0)
    out = route.run(a, b, TIMER)
    assert_exact(route, out, a, b)
    assert route.counts().max_digits_a >= 3


@pytest.mark.parametrize("fixed", ["", "b", "a", "ab"])
def test_operands_beyond_the_plan_are_planned_anew_and_counted(fixed, columns):
    a, b = draw("channels", 600, 1024, 520, torch.bfloat16, DEVICE)
    route = open_route(a, b, fixed=fixed)
    given = [
        route.prepare(side, x) if side in fixed else x for side, x in zip("ab", (a, b), strict=True)
    ]
    assert_exact(route, route.run(*given, TIMER), a, b)
    assert route.counts().replans == 0
    for number, kind in enumerate(("plain", "scattered", "channels", "scattered"), start=1):
        fresh = draw(kind, 600, 1024, 520, torch.bfloat16, DEVICE, number)
        fresh[0].view(-1)[:: 997 // number] *= 100 * number
        x, y = (
            old if side in fixed else new
            for side, old, new in zip("ab", (a, b), fresh, strict=True)
        )
        out = route.run(given[0] if "a" in fixed else x, given[1] if "b" in fixed else y, TIMER)
        assert_exact(route, out, x, y)
    if "a" not in fixed:
        assert route.counts().replans > 0
    if fixed == "ab":
        assert route.counts().replans == 0


def test_a_row_with_thousands_of_high_parts():
    a, b = draw("plain", 128, 8192, 256, torch.bfloat16, DEVICE)
    a[7, :5000] = 50
    route = open_route(a, b)
    assert_exact(route, route.run(a, b, TIMER), a, b)


def test_sums_that_32_bits_do_not_hold():
    a = torch.ones((128, 4096), device=DEVICE)
    a[:, ::2] = 40
    b = a.clone()
    route = open_route(a, b, 127.0, 40.0)
    out = route.run(a, b, TIMER)
    assert int(route.integers().abs().max()) > 2**31
    assert_exact(route, out, a, b)
    assert isinstance(route._last.way, DenseWay)
    assert route._last.way.wide


@pytest.mark.parametrize("output", ["same", None, torch.float32, torch.float16])
def test_integers_of_eight_digits_and_beyond_64_bits(output):
    generator = torch.Generator(DEVICE).manual_seed(1)
    a, b = (torch.randn((9, 40), generator=generator, device=DEVICE) for _ in range(2))
    a[3, 5] = 1e14
    b[4, 5], b[2, 7] = -1e5, -3e13
    route = open_route(a, b, 127.0, 90.0, output)
    out = route.run(a, b, TIMER)
    integers = route.integers()
    assert isinstance(integers, np.ndarray)
    qa, qb = (
        reference_integers(x, route._request.rounding.a)[0].cpu().numpy().astype(object)
        for x in (a, b)
    )
    assert (integers == qa @ qb.T).all()
    assert abs(qa).max() > 2**50
    if output is None:
        assert (out == integers).all()
    else:
        scales = route.scales()
        near = torch.tensor(
            [[c / (float(scales.a) * float(scales.b)) for c in row] for row in qa @ qb.T],
            dtype=torch.float64,
        )
        assert torch.allclose(
            out.cpu(), near.to(out.dtype), rtol=1e-3 if output is torch.float16 else 1e-6
        )
    # One entry of this size alone leaves the sums within 64 bits.
    b[4, 5], b[2, 7] = 1, -1
    assert_exact(route, route.run(a, b, TIMER), a, b)
    a[3, 5] = 1e21
    route.run(a, b, TIMER)
    with pytest.raises(DataError, match=r"activations: an entry becomes .* not below 2\^62"):
        route.check()
    route.check()


@pytest.mark.parametrize(
    ("output", "h", "sibling"),
    [("same", 64, True), ("same", 63, False), (torch.float32, 64, False), (None, 64, False)],
)
def test_a_sibling_kernel_that_is_judged_for_its_integers_is_named(output, h, sibling):
    a, b = draw("plain", 48, 256, h, torch.bfloat16, DEVICE)
    route = open_route(a, b, output=output)
    assert_exact(route, route.run(a, b, TIMER), a, b)
    assert ("once more with its sums written out" in route.judged) == sibling


@pytest.mark.parametrize("output", ["same", None])
def test_what_is_not_finite_is_named_and_poisons(output):
    a, b = draw("plain", 40, 64, 48, torch.float32, DEVICE)
    route = open_route(a, b, output=output)
    for x, place in ((b, (3, 5)), (a, (7, 60))):
        kept = x[place].item()
        x[place] = torch.nan if x is b else -torch.inf
        out = route.run(a, b, TIMER)
        assert (out == -(2**63)).all() if output is None else out.isnan().all()
        found, name = ("nan", "weights") if x is b else ("-inf", "activations")
        for _ in range(2):
            with pytest.raises(DataError, match=f"{name}: found {found} at .{place[0]}, "):
                route.integers()
        with pytest.raises(DataError, match=name):
            route.check()
        route.check()
        with pytest.raises(DataError, match=name):
            route.prepare("a" if x is a else "b", x)
        x[place] = kept
    assert_exact(route, route.run(a, b, TIMER), a, b)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_an_alpha_of_zero(granularity):
    a, b = draw("plain", 40, 300, 48, torch.float32, DEVICE)
    a[:, 10:] = 0
    for zero_alpha in ("error", "nonzero"):
        route = open_route(a, b, zero_alpha=zero_alpha, granularity=granularity)
        out = route.run(a, b, TIMER)
        if zero_alpha == "nonzero":
            assert_exact(route, out, a, b)
            out = route.run(route.prepare("a", a), b, TIMER)
            assert_exact(route, out, a, b)
        else:
            with pytest.raises(DataError, match="activations: the scale is undefined"):
                route.check()


@pytest.mark.parametrize("output", ["same", None])
@pytest.mark.parametrize("fixed", ["", "b"])
@pytest.mark.parametrize("shape", [(512, 2048, 768), (300, 500, 203)])
@pytest.mark.parametrize("first", ["plain", "channels"])
def test_new_values_in_a_graph(shape, fixed, output, first, columns):
    """Two digits of every entry are recorded behind a gate; what is beyond poisons."""
    a, b = draw(first, *shape, torch.bfloat16, DEVICE)
    route = open_route(a, b, output=output, fixed=fixed)
    given = route.prepare("b", b) if fixed else b
    graph = GraphedRun(lambda timer: route.run(a, given, timer), DEVICE)
    for seed in range(6):
        fresh = draw("scattered" if seed % 3 else "channels", *shape, torch.bfloat16, DEVICE, seed)
        if seed % 3 == 2:
            fresh[0].view(-1)[::301] *= -40
        a.copy_(fresh[0])
        if not fixed:
            b.copy_(fresh[1])
        graph.result.fill_(77)
        assert_exact(route, graph.replay(), a, b)
    assert route.counts().replans > 0
    kept = a[5, 6].item()
    for bad, message in ((1e6, "needs more digits"), (torch.nan, r"activations: .* at \[5, 6\]")):
        a[5, 6] = bad
        out = graph.replay()
        assert (out == -(2**63)).all() if output is None else out.isnan().all()
        a[5, 6] = kept
        graph.replay()
        with pytest.raises(DataError, match=message):
            route.check()
        assert_exact(route, graph.replay(), a, b)


def test_a_graph_without_a_run_before():
    a, b = (
        x.expand(2, *x.shape).clone()
        for x in draw("scattered", 100, 300, 90, torch.float16, DEVICE)
    )
    route = open_route(a, b, 127.0)
    warm = torch.randn(4, 4, device=DEVICE)
    open_route(warm, warm).run(warm, warm, TIMER)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = route.run(a, b, TIMER)
    graph.replay()
    assert_exact(route, out, a, b)


def test_one_prepared_weight_for_any_number_of_rows(columns):
    _, b = draw("scattered", 1, 2048, 768, torch.bfloat16, DEVICE)
    route = open_route(b[:1], b, 127.0, fixed="b")
    weight = route.prepare("b", b)
    for n in (1, 700, 16, 3000, 257, 1, 700):
        a, _ = draw("scattered", n, 2048, 768, torch.bfloat16, DEVICE, n)
        assert_exact(route, route.run(a, weight, TIMER), a, b)


def test_a_graph_keeps_the_digits_of_its_weight(columns):
    """Runs with more rows need more copies of the weight's digits, in other memory."""
    a, b = draw("scattered", 300, 2048, 768, torch.bfloat16, DEVICE)
    route = open_route(a, b, 127.0, fixed="b")
    weight = route.prepare("b", b)
    graph = GraphedRun(lambda timer: route.run(a, weight, timer), DEVICE)
    captured = route._last
    more, _ = draw("scattered", 3000, 2048, 768, torch.bfloat16, DEVICE, 1)
    for _ in range(2):
        assert_exact(route, route.run(more, weight, TIMER), more, b)
        a.copy_(more[:300])
        graph.result.fill_(77)
        out = graph.replay()
        route._last = captured
        assert_exact(route, out, a, b)


def test_a_prepared_weight_is_as_it_was_when_it_was_prepared(columns):
    a, b = draw("scattered", 300, 512, 768, torch.bfloat16, DEVICE)
    route = open_route(a, b, 127.0, fixed="b")
    weight, before = route.prepare("b", b), b.clone()
    b.mul_(-2)
    for seed in (1, 2):
        a = draw("scattered" if seed == 1 else "channels", 300, 512, 768, a.dtype, DEVICE, seed)[0]
        a *= 10**seed
        assert_exact(route, route.run(a, weight, TIMER), a, before)


def test_strides_and_offsets():
    base = torch.randn(3, 70, 90, device=DEVICE, dtype=torch.bfloat16)
    for a, b in (
        (base[0].T, base[1].T),
        (base[:, ::2, 1:], base[:, ::3, 1:]),
        (base.transpose(0, 1)[:, :, :50], base.transpose(0, 1)[:, :2, 40:]),
        (base[0].flatten()[1:4001].view(40, 100), base[1].flatten()[3:4003].view(40, 100)),
    ):
        route = open_route(a, b, 127.0)
        assert_exact(route, route.run(a, b, TIMER), a, b)


def test_a_tie_is_rounded_to_even():
    """359 * 49 / (7 * 7) lies in the middle between two bfloat16: a quotient is rounded once."""
    a, b = (torch.ones(40, 2, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    a[0] = torch.tensor([200.0, 159.0])
    for output in (torch.bfloat16, torch.float32):
        route = open_route(a, b, 14.0, output=output)
        out = route.run(a, b, TIMER)
        assert out[0, 0] == (360 if output is torch.bfloat16 else 359)
        assert_exact(route, out, a, b)


def test_the_stages():
    a, b = draw("plain", 64, 128, 72, torch.bfloat16, DEVICE)
    for output, stages in (
        ("same", ["quantize", "unpack", "gemm"]),
        (torch.float32, ["quantize", "unpack", "gemm", "pack"]),
    ):
        timer = StageTimer("cuda")
        route = open_route(a, b, output=output)
        with timer.repeat():
            route.run(a, b, timer)
        assert [*timer.summary()] == [*stages, "total"]


def test_kinds_are_refused_and_say_why():
    a = torch.randn(64, 64, device=DEVICE)
    good = request(a, a)
    backend = load_backend("cutlass-int8")
    for change, reason in (
        ({"digits": PerOperand.both(DigitSystem("paper", 8))}, "balanced digits of 8 bits"),
        ({"digits": PerOperand.both(DigitSystem("balanced", 4))}, "balanced digits of 8 bits"),
        ({"dtype": torch.float64}, "takes float32, float16 and bfloat16"),
        ({"output": torch.int32}, "no results of"),
        ({"k_split": "never"}, "k_split must be auto"),
        ({"device": torch.device("cpu")}, "CUDA device"),
    ):
        said = backend.fused(Request(**{**vars(good), **change}))
        assert isinstance(said, Support)
        assert reason in said.reason
    route = backend.fused(good)
    with pytest.raises(InputError, match="last dimension"):
        route.run(a, a[:, :32], TIMER)
    with pytest.raises(InputError, match="float32, float16 or bfloat16"):
        route.run(a.double(), a, TIMER)
    with pytest.raises(InputError, match="prepared as 'b'"):
        route.run(route.prepare("b", a), a, TIMER)
