"""The error of a rounded product, estimated and bounded, and the β that a tolerance needs."""

from pathlib import Path
from statistics import median

import pytest
import torch

import accelsim
from accelsim.analysis.choosing import Errors, rounding_error
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.types import PerOperand, Rounding
from workloads import open_bundle

DATA = Path(__file__).parents[3] / "workloads" / "data"


def true_error(a, b, how):
    def rounded(x):
        found = quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha)
        return found.values.double() / (found.scale.double() * 2.0**found.scale_exponent)

    exact = a.double() @ b.double().mT
    return float((rounded(a) @ rounded(b).mT - exact).norm() / exact.norm())


def drawn(*shape, heavy=0.001):
    x = torch.randn(*shape)
    return torch.where(torch.rand(shape) < heavy, 50 * x, x)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_the_estimate_is_close_and_the_bound_holds_on_real_operands(granularity):
    away = []
    for bundle in ("smollm2", "minilm"):
        for gemm in open_bundle(DATA / f"{bundle}.safetensors").gemms:
            a, b = gemm.load()
            errors = Errors(a, b)
            for beta in (7, 63, 1023):
                how = Rounding(95, beta, granularity, "nonzero")
                found, true = errors.of(PerOperand.both(how)), true_error(a, b, how)
                assert true <= found.bound <= 40 * true
                assert found.factor == found.bound / found.estimate
                away.append(abs(found.estimate / true - 1))
    assert median(away) < 0.1
    assert max(away) < 0.3


def test_the_bound_holds_where_the_estimate_does_not():
    """Errors that all point the same way add up: nothing about them is independent."""
    a, b = torch.full((8, 512), 1.4), torch.full((4, 512), 1.0)
    a[:, 0] = 1000.0  # with β = 2 and p = 100 the rest is rounded to 0 together
    b[:, 0] = 1e-3
    how = PerOperand(Rounding(100, 2), Rounding(100, 255))
    found = rounding_error(a, b, how)

    def rounded(x, how):
        return quantize(x, how.percentile, how.beta).values / quantize(x, 100, how.beta).scale

    exact = a.double() @ b.double().mT
    product = rounded(a, how.a).double() @ rounded(b, how.b).double().mT
    true = float((product - exact).norm() / exact.norm())
    assert found.estimate < true / 10
    assert true <= found.bound < 1.01 * true


@pytest.mark.parametrize("guaranteed", [False, True])
@pytest.mark.parametrize("shape", [((64, 96), (32, 96)), ((3, 40, 64), (3, 24, 64))])
def test_the_least_beta_that_meets_a_tolerance(shape, guaranteed):
    torch.manual_seed(0)
    a, b = (drawn(*each) for each in shape)
    choice = accelsim.choose(a, b, 2e-2, guaranteed=guaranteed, granularity="row")
    errors = Errors(a, b)

    def error(beta):
        found = errors.of(PerOperand.both(Rounding(95, beta, "row", "nonzero")))
        return found.bound if guaranteed else found.estimate

    assert error(choice.beta) <= 2e-2 < error(choice.beta - 1)
    assert choice.error == errors.of(PerOperand.both(Rounding(95, choice.beta, "row", "nonzero")))
    if guaranteed:
        assert true_error(a, b, Rounding(95, choice.beta, "row")) <= 2e-2
    assert 2 ** (choice.bits - 1) - 1 >= choice.beta / 2 > 2 ** (choice.bits - 2) - 1
    assert 0 < choice.out_of_bound.a < 0.06


def test_float32_accuracy_is_reached_and_more_is_not():
    torch.manual_seed(0)
    a, b = drawn(32, 64), drawn(16, 64)
    fine = accelsim.choose(a, b, 1e-7)
    assert true_error(a, b, Rounding(95, fine.beta)) < 2e-7
    with pytest.raises(InputError, match=r"no β gives an error of at most 1e-12; the nearest is"):
        accelsim.choose(a, b, 1e-12)


def test_what_has_no_answer():
    a, b = torch.randn(4, 8), torch.randn(3, 8)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="tolerance: found"):
            accelsim.choose(a, b, wrong)
    with pytest.raises(InputError, match=r"found shapes \(4, 8\) and \(3, 7\)"):
        accelsim.choose(a, b[:, :7])
    with pytest.raises(DataError, match="the product is zero"):
        accelsim.choose(a, torch.zeros(3, 8))
    a[1, 2] = float("nan")
    with pytest.raises(DataError, match="found NaN or infinity"):
        accelsim.choose(a, b)
