"""The percentile on the GPU: the same float as sorting gives, whatever the tensor."""

import numpy as np
import pytest
import torch

from accelsim.arithmetic.rounding import rank
from accelsim.kernels.select import Selector, select_rows

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


SAMPLE = 8192
COUNT, RANK = 1_000_003, 10_000


def sampled():
    """The entries that the kernel brackets the answer with: one in each part, by a hash."""
    numbers = np.arange(SAMPLE, dtype=np.uint64)
    part = np.uint64(COUNT // SAMPLE)
    x = (numbers + np.uint64(1)).astype(np.uint32)
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    x = (x ^ (x >> 16)).astype(np.uint64)
    return torch.from_numpy((numbers * part + ((x * part) >> np.uint64(32))).astype(np.int64))


def bracket(x, seen):
    """The least and the largest of the entries in question, by their ranks in the sample."""
    middle = RANK / COUNT * SAMPLE
    margin = 4 + 3.5 * (middle * (1 - RANK / COUNT)) ** 0.5
    order = x[seen].sort(descending=True).values
    lower, upper = (order[int(k) - 1] for k in (middle + margin, middle - margin))
    if x.dtype is torch.float32:  # a bin of the sample has 2^16 keys
        keys = torch.stack([lower, upper]).view(torch.int32) >> 16 << 16
        lower, upper = (keys + torch.tensor([0, 0xFFFF], dtype=torch.int32)).view(torch.float32)
    return lower, upper


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("edge", ["above", "below"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_answer_at_the_edge_of_what_the_sample_says(dtype, edge, offset):
    """Entries that are not sampled move the answer just out of the bracket, and just not."""
    x = (1 + torch.arange(COUNT) / COUNT).to(dtype)
    seen = sampled()
    low, high = bracket(x, seen)
    free = torch.ones(COUNT, dtype=torch.bool)
    free[seen] = False
    if edge == "above":
        wanted = RANK + offset - int((x > high).sum())
        movable, to = free & (x < low), 3.0
    else:
        wanted = int((x >= low).sum()) - RANK - offset
        movable, to = free & (x >= low) & (x <= high), 0.5
    assert wanted > 0
    places = movable.nonzero()[:, 0]
    assert len(places) >= wanted
    x[places[:wanted]] = to
    assert int((x > high).sum() if edge == "above" else (x >= low).sum()) == RANK + offset
    selector = Selector(COUNT, torch.device("cuda"))
    selector.run(x.cuda(), RANK, 15.0)
    order = x.float().sort(descending=True).values
    assert selector.report()[0] == float(order[RANK - 1])


def test_a_scale_that_is_no_float32_is_not_one():
    x = torch.full((2, 40), 3e38, device="cuda")
    assert select_rows(x, 3, 1e-10)[2].isnan().all()
    selector = Selector(x.numel(), x.device)
    selector.run(x, 3, 1e-10)
    assert selector.scale.isnan()
