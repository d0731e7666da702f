"""Columns that are heavy throughout, found in a few rows before the operands are split."""

import pytest
import torch

from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.gpu.operands import draw
from accelsim.types import PerOperand
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused.pipeline import Pipeline

DEVICE = torch.device("cuda")
SHAPE = 2310, 2056, 1028
PERCENTILE, BETA = PerOperand(90.0, 90.0), PerOperand(31.0, 31.0)


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


def heavy_operands(a_columns, b_columns, dtype=torch.bfloat16, seed=0):
    a, b = draw("plain", *SHAPE, dtype, DEVICE, seed)
    a[:, a_columns] *= -60
    b[:, b_columns] *= -60
    return a, b


def assert_exact(pipeline, a, b):
    qa, qb = (quantize(x.cpu(), 90.0, 31.0, "tensor", "error", "x") for x in (a, b))
    pipeline.check()
    assert torch.equal(pipeline.integers(), oracle(qa.values, qb.values).cuda())


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("larger", [1, 100])
def test_many_heavy_columns(prepared, dtype, larger):
    a, b = heavy_operands(slice(0, None, 12), slice(1, None, 25), dtype=dtype)
    a[:, 0] *= larger
    b[3, 100] = b[7, 301] = 500
    a[5, 100] = -500
    pipeline = Pipeline(a, b, PERCENTILE, BETA, prepared)
    assert pipeline.plan.surveyed
    assert pipeline.plan.a.groups == (2 if larger > 1 else 1)
    pipeline.run()
    assert_exact(pipeline, a, b)


@pytest.mark.parametrize("prepared", [True, False])
def test_other_heavy_columns_in_the_next_run(prepared):
    columns = torch.arange(0, SHAPE[1], 12, device=DEVICE)
    a, b = heavy_operands(columns, slice(1, None, 25))
    pipeline = Pipeline(a, b, PERCENTILE, BETA, prepared)
    graph = pipeline.capture()
    for seed in (1, 2):
        fresh = heavy_operands(columns + seed, slice(1 if prepared else 3, None, 25), seed=seed)
        a.copy_(fresh[0])
        if not prepared:
            b.copy_(fresh[1])
        pipeline.out.fill_(float("nan"))
        pipeline.a.digits.fill_(77)
        graph.replay()
        assert_exact(pipeline, a, b)


def test_columns_that_the_sample_misses_are_found_by_counting():
    a, b = heavy_operands(slice(0, None, 12), slice(1, None, 25))
    pipeline = Pipeline(a, b, PERCENTILE, BETA)
    # Rows between the surveyed ones: none of this column's high parts is in the sample.
    rows = torch.arange(SHAPE[0], device=DEVICE) % (SHAPE[0] // 128) == 1
    a[rows, 1503] = 300
    pipeline.run()
    assert pipeline.plan.surveyed
    assert int(pipeline.a.column_counts[1503]) == int(rows.sum())
    assert int(pipeline.a.column_counts[0]) == 0
    assert_exact(pipeline, a, b)
