"""The percentile on the GPU: the same float as sorting gives, whatever the tensor."""

import pytest
import torch

from accelsim.arithmetic.rounding import rank
from accelsim.kernels.select import Selector

CASES = {
    "normal": lambda n, g: torch.randn(n, generator=g, device="cuda"),
    "negative heavy": lambda n, g: -(torch.randn(n, generator=g, device="cuda").abs() ** 5),
    "uniform": lambda n, g: torch.rand(n, generator=g, device="cuda"),
    "few values": lambda n, g: torch.randint(-3, 4, (n,), generator=g, device="cuda").float(),
    "mostly zero": lambda n, g: (
        torch.randn(n, generator=g, device="cuda")
        * (torch.rand(n, generator=g, device="cuda") < 0.06)
    ),
    "constant": lambda n, g: torch.full((n,), -2.5, device="cuda"),
    "zeros": lambda n, g: torch.zeros(n, device="cuda"),
    "denormal": lambda n, g: torch.randn(n, generator=g, device="cuda") * 1e-41,
    "sorted": lambda n, g: torch.randn(n, generator=g, device="cuda").sort().values,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 1000, 65_537, 3_000_001])
def test_same_as_sorting(name, dtype, count, generator):
    x = CASES[name](count, generator).to(dtype)
    selector = Selector(count, x.device)
    order = x.float().abs().sort().values
    for percentile in (100, 99.9, 95, 50, 1):
        k = rank(count, percentile)
        selector.run(x, k, 31.0)
        alpha, scale, largest, nonfinite = selector.report()
        assert alpha == float(order[-k]), percentile
        assert largest == float(order[-1])
        assert nonfinite is None
        expected = torch.tensor(31.0 / (2 * alpha) if alpha else torch.nan, dtype=torch.float64)
        expected = expected.float()
        if largest == 0:
            assert scale == 1
        elif torch.isfinite(expected) and expected > 0:
            assert scale == float(expected)
        else:
            assert scale != scale


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", [0, 17, 99_999])
def test_the_first_entry_that_is_not_finite_is_found(bad, where, generator):
    x = torch.randn(100_000, generator=generator, device="cuda")
    x[where] = bad
    x[99_999] = bad
    selector = Selector(x.numel(), x.device)
    selector.run(x, 5000, 15.0)
    assert selector.report()[3] == where


def test_unaligned_tensors(generator):
    x = torch.randn(50_001, generator=generator, device="cuda")[1:]
    selector = Selector(x.numel(), x.device)
    selector.run(x, 2500, 15.0)
    assert selector.report()[0] == float(x.abs().sort().values[-2500])
