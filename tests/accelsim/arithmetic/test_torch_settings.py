"""No setting of torch or of the process changes an integer, a digit or a verdict."""

import contextlib
import locale

import pytest
import torch

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy, pack
from accelsim.unpack.kernels.generic import GenericKernels


@contextlib.contextmanager
def restored(set_it, get_it, value):
    before = get_it()
    set_it(value)
    try:
        yield
    finally:
        set_it(before)


@contextlib.contextmanager
def flushed():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has subnormal numbers always")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def fp32_precision():
    matmul = torch.backends.mkldnn.matmul
    return restored(
        lambda value: setattr(matmul, "fp32_precision", value),
        lambda: matmul.fp32_precision,
        "bf16",
    )


def default_dtype(dtype):
    return restored(torch.set_default_dtype, torch.get_default_dtype, dtype)


def deterministic():
    return restored(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    )


SETTINGS = {
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "device": lambda: torch.device("meta"),
    "precision": lambda: restored(
        torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "medium"
    ),
    "fp32_precision": fp32_precision,
    "flush_denormal": flushed,
    "deterministic": deterministic,
    "inference": torch.inference_mode,
    "grad": torch.enable_grad,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "locale": lambda: restored(
        lambda value: locale.setlocale(locale.LC_ALL, value),
        lambda: locale.setlocale(locale.LC_ALL),
        "C",
    ),
    "threads": lambda: restored(torch.set_num_threads, torch.get_num_threads, 1),
}

OPERANDS = {
    "usual": (1.0, torch.float32),
    "half": (1.0, torch.float16),
    "short": (1.0, torch.bfloat16),
    "subnormal": (1e-41, torch.float32),
    "nearly subnormal": (3e-38, torch.float32),
    "largest": (1e36, torch.float32),
}


def operands(kind, d):
    factor, dtype = OPERANDS[kind]
    generator = torch.Generator("cpu").manual_seed(1)
    for rows in (65, 40):
        x = torch.randn((rows, d), generator=generator, dtype=torch.float32, device="cpu")
        x[::7, ::11] *= 25
        x[:, 5] = 0
        yield (x * factor).to(dtype)


def everything(pair, granularity, strategy):
    """Run the main path: every tensor that it makes, in order."""
    system = DigitSystem("balanced", 5)
    quantized = [quantize(x, 95, 31, granularity, "nonzero") for x in pair]
    made = [x.values for x in quantized] + [x.scale for x in quantized]
    problem = load_strategy(strategy).unpack(*(IntegerOperand(x, system) for x in quantized))
    generic = [GenericKernels(x, system) for x in quantized]
    made += [kernels.row_levels() for kernels in generic]
    made += [kernels.column_levels() for kernels in generic]
    results = []
    for product in problem.products:
        a, b = (x if isinstance(x, torch.Tensor) else x.to_dense() for x in (product.a, product.b))
        made += [a, b]
        results.append(oracle(a, b))
    packed = pack(problem, results)[0]
    expected = oracle(*(x.values for x in quantized))
    assert compare(packed, expected).exact
    assert all(x.scale.dtype == torch.float32 for x in quantized)
    scales = PerOperand(*(x.scale for x in quantized))
    exponents = PerOperand(*(x.scale_exponent for x in quantized))
    return [*made, packed, dequantize(expected, scales, torch.bfloat16, exponents)]


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_nothing(setting, kind, granularity):
    # Two threads share an operand of 2^17 entries and more.
    pair = list(operands(kind, 3400 if setting == "threads" else 90))
    strategy = "block" if granularity == "row" else "mix"
    expected = everything(pair, granularity, strategy)
    with SETTINGS[setting]():
        found = everything(pair, granularity, strategy)
    assert len(found) == len(expected)
    # Without the last, floats that a flushing processor may not have.
    last = -1 if setting == "flush_denormal" else None
    for mine, right in zip(found[:last], expected[:last], strict=True):
        assert mine.dtype == right.dtype
        assert torch.equal(mine, right)
