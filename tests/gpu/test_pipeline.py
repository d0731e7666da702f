"""Floats to floats on the GPU: every integer equal to the oracle's, every float rounded once."""

import pytest
import torch

from accelsim.arithmetic.dequantize import round_once
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.gpu.operands import draw
from accelsim.types import PerOperand
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused.pipeline import Pipeline, PlanExceededError

DEVICE = torch.device("cuda")


@pytest.fixture(autouse=True)
def hopper():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")


def pair(value):
    return PerOperand(value, value)


def judge(pipeline, a, b, percentile, beta):
    """Compare with the CPU's integers and the oracle."""
    qa, qb = (quantize(x.cpu(), percentile, beta, "tensor", "error", "x") for x in (a, b))
    expected = oracle(qa.values, qb.values).cuda()
    assert torch.equal(pipeline.integers(), expected)
    inverse = 1.0 / (float(qa.scale) * float(qb.scale))
    assert torch.equal(pipeline.out, round_once(expected.double() * inverse, pipeline.out.dtype))


@pytest.mark.parametrize("kind", ["plain", "channels", "scattered"])
@pytest.mark.parametrize("beta", [15.0, 31.0, 127.0, 255.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(512, 1024, 768), (300, 1100, 260), (77, 1031, 1003)])
def test_exact(kind, beta, dtype, shape):
    n, d, h = shape
    a, b = draw(kind, n, d, h, dtype, DEVICE)
    pipeline = Pipeline(a, b, pair(95.0), pair(beta))
    pipeline.out.fill_(float("nan"))
    pipeline.run()
    pipeline.check()
    judge(pipeline, a, b, 95.0, beta)


def test_negative_heavy_columns_and_a_second_high_digit():
    a, b = draw("plain", 400, 512, 320, torch.bfloat16, DEVICE)
    a[:, 7] = -a[:, 7].abs() * 3000
    pipeline = Pipeline(a, b, pair(95.0), pair(31.0))
    assert (pipeline.plan.a.groups, pipeline.plan.a.place_tiles) == (2, 0)
    pipeline.run()
    pipeline.check()
    judge(pipeline, a, b, 95.0, 31.0)


def test_heavy_columns_of_a_meet_high_parts_of_b():
    a, b = draw("channels", 600, 1024, 520, torch.bfloat16, DEVICE)
    heavy = int(a.abs().sum(dim=0).argmax())
    b[::3, heavy] *= 50
    pipeline = Pipeline(a, b, pair(95.0), pair(63.0))
    assert pipeline.plan.slot_tiles
    assert pipeline.plan.b.groups
    pipeline.run()
    pipeline.check()
    judge(pipeline, a, b, 95.0, 63.0)


def test_both_operands_dynamic_and_new_values_in_a_graph():
    a, b = draw("channels", 512, 2048, 768, torch.bfloat16, DEVICE)
    pipeline = Pipeline(a, b, pair(95.0), pair(31.0), prepared=False)
    graph = pipeline.capture()
    for seed in (1, 2, 3):
        fresh = draw("channels", 512, 2048, 768, torch.bfloat16, DEVICE, seed)
        a.copy_(fresh[0])
        b.copy_(fresh[1])
        pipeline.out.fill_(float("nan"))
        graph.replay()
        pipeline.check()
        judge(pipeline, a, b, 95.0, 31.0)


@pytest.mark.parametrize("kind", ["plain", "scattered"])
def test_scattered_entries_in_two_dynamic_operands(kind):
    shape = 700, 2048, 1032
    a, b = draw(kind, *shape, torch.bfloat16, DEVICE)
    pipeline = Pipeline(a, b, pair(95.0), pair(127.0), prepared=False)
    graph = pipeline.capture()
    for seed in (1, 2):
        fresh = draw(kind, *shape, torch.bfloat16, DEVICE, seed)
        a.copy_(fresh[0])
        b.copy_(fresh[1])
        pipeline.out.fill_(float("nan"))
        graph.replay()
        pipeline.check()
        judge(pipeline, a, b, 95.0, 127.0)


def test_high_parts_that_meet_are_multiplied_too():
    a, b = draw("plain", 300, 512, 520, torch.bfloat16, DEVICE)
    a[3, 40] = a[130, 41] = a[131, 41] = a[299, 511] = 60
    b[2, 40] = b[259, 40] = b[519, 41] = b[1, 511] = -70
    pipeline = Pipeline(a, b, pair(95.0), pair(31.0))
    assert pipeline.plan.slot_tiles == 0
    assert pipeline.plan.cross_length
    pipeline.out.fill_(float("nan"))
    pipeline.run()
    pipeline.check()
    judge(pipeline, a, b, 95.0, 31.0)
    b_digits = pipeline.b.digits.clone()
    pipeline.run()
    assert torch.equal(pipeline.b.digits, b_digits)


def test_two_high_digits_in_both_operands():
    a, b = draw("plain", 300, 512, 520, torch.bfloat16, DEVICE)
    a[::2, 9] = 3000
    a[5, 77] = -3000
    b[::5, 9] = -3000
    b[7, 77] = 3000
    pipeline = Pipeline(a, b, pair(50.0), pair(15.0))
    assert (pipeline.plan.a.groups, pipeline.plan.b.groups) == (2, 2)
    assert pipeline.plan.slot_tiles
    assert pipeline.plan.cross_length
    pipeline.run()
    pipeline.check()
    judge(pipeline, a, b, 50.0, 15.0)


def test_new_activations_for_a_prepared_weight():
    a, b = draw("scattered", 512, 2048, 768, torch.bfloat16, DEVICE)
    pipeline = Pipeline(a, b, pair(95.0), pair(127.0))
    for seed in (4, 5):
        a.copy_(draw("scattered", 512, 2048, 768, torch.bfloat16, DEVICE, seed)[0])
        pipeline.run()
        pipeline.check()
        judge(pipeline, a, b, 95.0, 127.0)


def test_operands_beyond_the_plan_are_noticed():
    a, b = draw("channels", 256, 1024, 256, torch.bfloat16, DEVICE)
    pipeline = Pipeline(a, b, pair(95.0), pair(31.0))
    a.copy_(draw("plain", 256, 1024, 256, torch.bfloat16, DEVICE)[0])
    a.view(-1)[::997] = 1000
    pipeline.run()
    with pytest.raises(PlanExceededError, match="were planned"):
        pipeline.check()
    a[3, 5] = torch.nan
    pipeline.run()
    with pytest.raises(DataError, match="A: entry 3077"):
        pipeline.check()


def test_no_proof_no_result():
    a = torch.ones((128, 4096), device=DEVICE)
    a[:, ::2] = 40
    pipeline = Pipeline(a, a.clone(), pair(40.0), pair(127.0))
    pipeline.run()
    with pytest.raises(PlanExceededError, match="32 bits"):
        pipeline.check()


def test_bad_operands_are_refused():
    a = torch.randn(64, 64, device=DEVICE)
    with pytest.raises(InputError, match="last dimension"):
        Pipeline(a, a[:, :32].contiguous(), pair(95.0), pair(15.0))
    with pytest.raises(InputError, match="contiguous"):
        Pipeline(a.T, a, pair(95.0), pair(15.0))
    with pytest.raises(InputError, match="float32, float16 or bfloat16"):
        Pipeline(a.double(), a, pair(95.0), pair(15.0))
