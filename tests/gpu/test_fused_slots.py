"""Columns that are heavy throughout, found in a few rows before the operands are split."""

import pytest
import torch
from drawing import draw
from test_fused_route_on_cuda import TIMER, assert_exact, open_route

from accelsim.measure.graph import GraphedRun
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused import planner
from gemm_backends.cuda.fused.columns import ColumnsWay

DEVICE = torch.device("cuda")
SHAPE = 2310, 2056, 1028


@pytest.fixture(autouse=True)
def hopper(monkeypatch):
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")
    monkeypatch.setattr(planner, "ASIDE", 0)


def heavy_operands(a_columns, b_columns, dtype=torch.bfloat16, seed=0):
    a, b = draw("plain", *SHAPE, dtype, DEVICE, seed)
    a[:, a_columns] *= -60
    b[:, b_columns] *= -60
    return a, b


def opened(a, b, prepared):
    route = open_route(a, b, 31.0, 90.0, fixed="b" if prepared else "")
    return route, route.prepare("b", b) if prepared else b


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("larger", [1, 100])
def test_many_heavy_columns(prepared, dtype, larger):
    a, b = heavy_operands(slice(0, None, 12), slice(1, None, 25), dtype=dtype)
    a[:, 0] *= larger
    b[3, 100] = b[7, 301] = 500
    a[5, 100] = -500
    route, weight = opened(a, b, prepared)
    out = route.run(a, weight, TIMER)
    way = route._last.way
    assert isinstance(way, ColumnsWay)
    assert way.plan.surveyed
    assert way.plan.a.groups == (2 if larger > 1 else 1)
    assert_exact(route, out, a, b)
    assert route.counts().replans == 0


@pytest.mark.parametrize("prepared", [True, False])
def test_other_heavy_columns_in_the_next_run(prepared):
    columns = torch.arange(0, SHAPE[1], 12, device=DEVICE)
    a, b = heavy_operands(columns, slice(1, None, 25))
    route, weight = opened(a, b, prepared)
    graph = GraphedRun(lambda timer: route.run(a, weight, timer), DEVICE)
    for seed in (1, 2):
        fresh = heavy_operands(columns + seed, slice(1 if prepared else 3, None, 25), seed=seed)
        a.copy_(fresh[0])
        if not prepared:
            b.copy_(fresh[1])
        graph.result.fill_(float("nan"))
        route._last.way.digits.a.matrix.fill_(77)
        assert_exact(route, graph.replay(), a, b)
    assert route.counts().replans == 0


def test_columns_that_the_sample_misses_are_found_by_counting():
    a, b = heavy_operands(slice(0, None, 12), slice(1, None, 25))
    route, weight = opened(a, b, True)
    route.run(a, weight, TIMER)
    # Rows between the surveyed ones: none of this column's high parts is in the sample.
    rows = torch.arange(SHAPE[0], device=DEVICE) % (SHAPE[0] // 128) == 1
    a[rows, 1503] = 300
    out = route.run(a, weight, TIMER)
    way = route._last.way
    assert way.plan.surveyed
    assert int(way.digits.a.column_counts[1503]) == int(rows.sum())
    assert int(way.digits.a.column_counts[0]) == 0
    assert_exact(route, out, a, b)
    assert route.counts().replans == 0
