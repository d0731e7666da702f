"""Integers, digits, products and floats on a GPU: those of the CPU."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.rounding import alpha, begin_quantizing, quantize
from accelsim.errors import DataError
from accelsim.kernels.select import select_rows
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy, pack
from accelsim.unpack.kernels import CudaKernels
from accelsim.unpack.kernels.generic import GenericKernels

SHAPES = [(1, 1), (7, 300), (64, 512), (33, 1031), (257, 4096), (3, 5, 17), (4, 64, 128)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def operand(shape, seed, dtype=torch.float32, scale=60.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    x[..., ::3, ::7] *= -scale
    x[..., 1::9, :] *= scale / 3
    return x.to(dtype)


def same_quantized(here, there):
    assert torch.equal(there.values.cpu(), here.values)
    assert torch.equal(there.scale.cpu(), here.scale)
    assert (there.largest, there.scale_exponent) == (here.largest, here.scale_exponent)


def same_digits(here, there):
    assert torch.equal(there.survey.rows, here.survey.rows)
    assert torch.equal(there.survey.columns, here.survey.columns)
    assert there.survey.out_of_bound == here.survey.out_of_bound
    assert torch.equal(there.counts.cpu(), here.counts)
    skip = torch.zeros(here.shape[2], dtype=torch.int64)
    for head in range(here.shape[0]):
        rows = here.survey.rows[head]
        for levels in (rows, torch.ones_like(rows), rows + 1, rows):
            for found, right in zip(
                (there.digits(head, levels, None, skip, skip == 0), *there.outside(head)),
                (here.digits(head, levels, None, skip, skip == 0), *here.outside(head)),
                strict=True,
            ):
                assert found.is_cuda
                assert found.is_contiguous()
                assert torch.equal(found.cpu(), right)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_integers_and_digits_are_those_of_the_cpu(shape, dtype, granularity):
    x = operand(shape, 1, dtype)
    here, there = (quantize(y, 95, 31, granularity) for y in (x, x.cuda()))
    same_quantized(here, there)
    for digits in ("balanced", "paper"):
        for bits in (2, 3, 4, 5, 8, 12):
            system = DigitSystem(digits, bits)
            pair = [IntegerOperand(y, system) for y in (here, there)]
            own = digits == "balanced" and bits <= 8
            assert isinstance(pair[1].kernels, CudaKernels if own else GenericKernels)
            same_digits(*pair)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (257, 4096), (3, 5, 17), (1, 9, 20)])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("beta", [31.0, 1e5])
def test_digits_that_are_written_before_the_host_knows_the_scale(shape, granularity, beta):
    """More further digits than there is room for, and none, too."""
    system = DigitSystem("balanced", 8)
    for factor in (1.0, 0.01):
        x = operand(shape, 5) * factor
        here = IntegerOperand(quantize(x, 95, beta * factor, granularity), system)
        there = IntegerOperand.begin(
            begin_quantizing(x.cuda(), 95, beta * factor, granularity), system
        )()
        assert there.ahead is not None
        assert there.values.scale is there.ahead.scale
        same_quantized(here.values, there.values)
        same_digits(here, there)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("kind", ["scale out of range", "zero percentile", "beyond int32"])
def test_what_the_device_wrote_with_another_scale_is_not_used(kind, granularity):
    x = torch.rand(40, 500, generator=torch.Generator().manual_seed(0)) + 0.5
    beta = 31.0
    if kind == "scale out of range":
        x *= 1e-39
    elif kind == "zero percentile":
        x[:, 20:] = 0
    else:
        x[3, 7], beta = 1e6, 1e5
    system = DigitSystem("balanced", 8)
    arguments = (95, beta, granularity, "nonzero")
    here = IntegerOperand(quantize(x, *arguments), system)
    there = IntegerOperand.begin(begin_quantizing(x.cuda(), *arguments), system)()
    assert there.ahead is not None
    if kind == "beyond int32":
        assert isinstance(there.kernels, GenericKernels)
    else:
        assert there.values.scale is not there.ahead.scale
    same_quantized(here.values, there.values)
    same_digits(here, there)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 700)),
    st.sampled_from(DTYPES),
    st.sampled_from(["tensor", "row"]),
    st.integers(2, 8),
    st.floats(1, 100),
    st.sampled_from([5.0, 31.0, 1023.0, 1e6]),
    st.sampled_from(["plain", "transposed", "step", "expanded", "offset"]),
    st.integers(0, 999),
)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_operand_has_the_digits_of_the_cpu(
    shape, dtype, granularity, bits, percentile, beta, strides, seed
):
    x = operand(shape, seed, dtype)
    x = {
        "plain": x,
        "transposed": x.mT.contiguous().mT,
        "step": x[:, ::2],
        "expanded": x[:1].expand(shape),
        "offset": x.flatten()[1:].reshape(1, 1, -1) if x.numel() > 1 else x,
    }[strides]
    there = x.cuda() if strides != "expanded" else x[:1].cuda().expand(x.shape)
    here, there = (quantize(y, percentile, beta, granularity) for y in (x, there))
    same_quantized(here, there)
    system = DigitSystem("balanced", bits)
    same_digits(IntegerOperand(here, system), IntegerOperand(there, system))


@pytest.mark.parametrize("factor", [1e-44, 1e-39, 1e-37, 1e30])
def test_scales_beyond_float32(factor):
    x = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) * factor
    here, there = (quantize(y, 95, 31) for y in (x, x.cuda()))
    same_quantized(here, there)


def test_integers_beyond_int32():
    x = operand((30, 40), 2)
    x[::4, ::9] *= 1e9
    here, there = (quantize(y, 80, 1e6) for y in (x, x.cuda()))
    assert here.largest > 2**40
    same_quantized(here, there)
    same_digits(*(IntegerOperand(y, DigitSystem("balanced", 8)) for y in (here, there)))
    exact = oracle(here.values, here.values)
    assert compare(oracle(there.values, there.values), exact).exact


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_zeros_and_what_is_not_finite(granularity):
    x = torch.zeros(20, 3000)
    x[3, :40] = torch.randn(40, generator=torch.Generator().manual_seed(1))
    x[9, 7] = -2.0
    for y in (x, x.cuda()):
        with pytest.raises(DataError, match="zero_alpha"):
            quantize(y, 95, 31, granularity)
    same_quantized(*(quantize(y, 95, 31, granularity, "nonzero") for y in (x, x.cuda())))
    for bad in (torch.nan, torch.inf, -torch.inf):
        x[11, 2998] = bad
        with pytest.raises(DataError, match=r"at \[11, 2998\]"):
            quantize(x.cuda(), 95, 31, granularity)


@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (300, 1000), (9, 40_001)])
@pytest.mark.parametrize("kind", ["normal", "few", "zeros", "subnormal"])
def test_rows_are_selected_as_by_sorting(shape, kind, generator):
    x = torch.randn(shape, generator=generator, device="cuda")
    x = {"normal": x, "few": x.round(), "zeros": x * (x > 1.5), "subnormal": x * 1e-41}[kind]
    order = x.abs().sort(dim=1, descending=True).values
    for k in {1, min(2, shape[1]), (shape[1] + 1) // 2, shape[1]}:
        alphas, peaks, scales = select_rows(x, k, 31.0)
        wanted = (31.0 / (2 * alphas.double())).float()
        defined = (wanted > 0) & wanted.isfinite()
        wanted = torch.where(peaks == 0, 1, torch.where(defined, wanted, torch.nan))
        assert torch.equal(scales.nan_to_num(-1), wanted.nan_to_num(-1))
        assert torch.equal(alphas, order[:, k - 1])
        assert torch.equal(peaks, order[:, 0])
    ranks = torch.randint(1, shape[1] + 1, shape[:1], generator=generator, device="cuda")
    assert torch.equal(select_rows(x, ranks)[0], order.gather(1, ranks[:, None] - 1)[:, 0])
    assert torch.equal(alpha(x, 95).cpu(), alpha(x.cpu(), 95))


@pytest.mark.parametrize("strategy", ["row", "mix", "block", "row/column"])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_products_from_floats_are_those_of_the_cpu(strategy, granularity):
    system = DigitSystem("balanced", 8)
    floats = operand((2, 70, 90), 3), operand((2, 50, 90), 4)
    here, there = (
        [quantize(y.to(device), 95, 127, granularity) for y in floats] for device in ("cpu", "cuda")
    )
    made = load_strategy(strategy)
    expected = made.unpack(*(IntegerOperand(y, system) for y in here))
    problem = made.unpack(*(IntegerOperand(y, system) for y in there))
    results = []
    for mine, right in zip(problem.products, expected.products, strict=True):
        assert torch.equal(mine.a.cpu(), right.a)
        assert torch.equal(mine.b.cpu(), right.b)
        results.append((mine.a.double() @ mine.b.double().mT).long())
    exact = oracle(here[0].values, here[1].values)
    assert torch.equal(pack(problem, results).cpu(), exact)
    for dtype in DTYPES:
        found, right = (
            dequantize(product, PerOperand(*(y.scale for y in sides)), dtype)
            for product, sides in ((exact.cuda(), there), (exact, here))
        )
        assert torch.equal(found.cpu(), right)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quotients_on_ties_are_those_of_the_cpu(dtype):
    integers = torch.arange(-3000, 3000).reshape(6, 1000) * 49
    integers = torch.cat([integers, integers * 2**45 + 1])
    for scale in (1.0, 7.0, 3.0, 2.0**-100):
        scales = PerOperand.both(torch.tensor(scale))
        found = dequantize(integers.cuda(), scales.map(lambda x: x.cuda()), dtype)
        assert torch.equal(found.cpu(), dequantize(integers, scales, dtype))
