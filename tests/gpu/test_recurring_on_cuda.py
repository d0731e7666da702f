"""Runs at addresses that recur are launched as a graph of an earlier run; every value is new."""

import gc

import pytest
import torch
from drawing import draw
from test_fused_route_on_cuda import DEVICE, TIMER, assert_exact, open_route

import accelsim
from accelsim.kernels import recurring
from accelsim.kernels.launches import LaunchList, RecordedLaunches
from accelsim.kernels.nvcc import CudaError
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused import planner
from gemm_backends.cuda.fused.rounding import KEPT


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


@pytest.fixture
def replays(monkeypatch):
    """Runs that were launched as a graph, one entry each."""
    found, kept = [], RecordedLaunches.run

    def run(self, stream):
        found.append(stream)
        kept(self, stream)

    monkeypatch.setattr(RecordedLaunches, "run", run)
    return found


@pytest.fixture
def columns(monkeypatch):
    """Small shapes take slots and places, too."""
    monkeypatch.setattr(planner, "ASIDE", 0)
    monkeypatch.setattr(planner, "COPIED_BYTE", 0)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("rows", [12, 300])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_new_values_in_the_same_place(granularity, rows, dtype, replays, columns):
    a, b = draw("channels", rows, 1024, 512, dtype, DEVICE)
    route = open_route(a, b, 127.0, granularity=granularity)
    prepared = route.prepare("b", b)
    for i in range(8):
        a.copy_(draw("channels", rows, 1024, 512, dtype, DEVICE)[0].roll(i, 0) * (i + 1))
        out = route.run(a, prepared, TIMER)
        assert_exact(route, out, a, b)
        del out
    assert len(replays) >= 4


def test_values_beyond_the_plan_in_the_same_place(replays, columns):
    a, b = draw("plain", 300, 1024, 512, torch.bfloat16, DEVICE)
    route = open_route(a, b)
    prepared = route.prepare("b", b)
    first = a.clone()
    for factor in (1, 1, 1, 1, 40, 40, 40, 40, 1):
        a.copy_(first)
        a[::3, ::5] *= factor
        out = route.run(a, prepared, TIMER)
        assert_exact(route, out, a, b)
        del out
    assert route.counts().replans == 1
    assert len(replays) >= 2


def test_a_graph_in_the_wrong_place_is_seen(monkeypatch):
    """The tests above can fail: here a graph is launched whatever the addresses are."""
    kept = recurring.Recurring.run
    monkeypatch.setattr(
        recurring.Recurring, "run", lambda self, stream, beside, _: kept(self, stream, beside, ())
    )
    a, b = draw("plain", 300, 1024, 512, torch.bfloat16, DEVICE)
    route = open_route(a, b)
    prepared = route.prepare("b", b)
    for _ in range(2):
        out = route.run(a, prepared, TIMER)
    assert_exact(route, out, a, b)
    other = -a
    out = route.run(other, prepared, TIMER)
    with pytest.raises(AssertionError):
        assert_exact(route, out, other, b)


def test_an_interrupted_run_is_forgotten(monkeypatch):
    a, b = draw("plain", 300, 1024, 512, torch.bfloat16, DEVICE)
    route = open_route(a, b)
    prepared = route.prepare("b", b)
    route.run(a, prepared, TIMER)
    kept = LaunchList.run

    def run(self, stream, beside=0):
        raise CudaError("planted")

    monkeypatch.setattr(LaunchList, "run", run)
    with pytest.raises(CudaError, match="planted"):
        route.run(a, prepared, TIMER)
    monkeypatch.setattr(LaunchList, "run", kept)
    for _ in range(4):
        out = route.run(a, prepared, TIMER)
        assert_exact(route, out, a, b)
        del out


def test_graphs_may_go_while_another_one_is_recorded(replays):
    a, b = draw("plain", 300, 1024, 512, torch.bfloat16, DEVICE)
    route = open_route(a, b)
    prepared = route.prepare("b", b)
    for _ in range(4):
        route.run(a, prepared, TIMER)
    assert replays
    graph, x = torch.cuda.CUDAGraph(), torch.ones(8, device=DEVICE)
    gc.collect()
    with torch.cuda.graph(graph):
        x += 1
        del route
        gc.collect()
        x += 1
    x.zero_()
    graph.replay()
    assert x.eq(2).all()


def test_a_layer_of_a_model_recurs_and_its_weight_changes(replays):
    torch.manual_seed(0)
    layer = torch.nn.Linear(512, 256, bias=False, device=DEVICE, dtype=torch.bfloat16)
    x = torch.randn(64, 512, device=DEVICE, dtype=torch.bfloat16)
    with torch.no_grad(), accelsim.integer_gemms(layer, beta=31, check=True) as mode:
        for _ in range(5):
            before = layer(x)
        assert replays
        layer.weight.mul_(-1)
        for _ in range(5):
            after = layer(x)
            assert torch.equal(after, -before)
    assert mode.tally.total.checked == mode.tally.total.gemms == 10
    assert mode.tally.total.inexact == 0


def test_the_host_has_something_to_do_once_a_run(columns):
    a, b = draw("plain", 300, 1024, 512, torch.bfloat16, DEVICE)
    route = open_route(a, b)
    prepared = route.prepare("b", b)
    done = []
    route.run(a, prepared, TIMER, lambda: done.append(1))
    route.run(a * 40, prepared, TIMER, lambda: done.append(1))
    a[::3, ::5] *= 40
    route.run(a, prepared, TIMER, lambda: done.append(1))
    assert route.counts().replans
    assert len(done) == 3
    route.run(a[:0], prepared, TIMER, lambda: done.append(1))
    assert len(done) == 4


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("rows", [16, 300])
def test_a_graph_keeps_what_it_rounds_with(granularity, rows):
    """Runs of many other shapes, and then of the graph's own, take none of its memory away."""
    a, b = draw("channels", rows, 512, 256, torch.bfloat16, DEVICE)
    route = open_route(a, b, 63.0, granularity=granularity)
    prepared = route.prepare("b", b)
    route.run(a, prepared, TIMER)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = route.run(a, prepared, TIMER)
    for other in range(1, 2 * KEPT + 1):
        route.run(torch.randn(other, 512, device=DEVICE).bfloat16(), prepared, TIMER)
    route.run(a.clone(), prepared, TIMER)
    gc.collect()
    torch.cuda.synchronize()
    # Whatever was given back is taken, and written to before the graph runs and while it does.
    torch.cuda.empty_cache()
    taken = [torch.full((64 + i,), float("nan"), device=DEVICE) for i in range(2000)]
    graph.replay()
    torch.cuda.synchronize()
    assert all(x.isnan().all() for x in taken)
    a.mul_(-3)
    graph.replay()
    found = out.clone()
    again = route.run(a, prepared, TIMER)
    assert_exact(route, again, a, b)
    assert torch.equal(found, again)
