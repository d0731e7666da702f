"""The CPU's front end: percentile, rounding, unpacking and packing, each against its floor."""

import numpy as np
import pytest
import torch

from accelsim.arithmetic.percentile import kth_largest_magnitude
from accelsim.arithmetic.rounding import quantize, rank
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy, pack
from accelsim.unpack.levels import cover
from accelsim.unpack.problem import LowBitProblem

SIZE = 2048
BETA = 31
SYSTEM = DigitSystem("balanced", 8)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def large():
    return normal(4096, 4096)


@pytest.fixture(scope="module")
def rounded():
    """Normal operands, 4 columns of A multiplied by 30, rounded."""
    a, b = normal(SIZE, SIZE), normal(SIZE, SIZE, seed=1)
    a[:, :: SIZE // 4] *= 30
    return quantize(a, 95, BETA), quantize(b, 95, BETA)


def fresh(rounded):
    return tuple(IntegerOperand(operand, SYSTEM) for operand in rounded)


def digit_bytes(problem: LowBitProblem):
    return sum(product.a.nbytes + product.b.nbytes for product in problem.products)


def test_percentile(measure, large):
    values, k = large.numpy(), rank(large.numel(), 95)
    found = measure(kth_largest_magnitude, lambda: (values, k), floor=values.nbytes)
    assert found == np.sort(np.abs(values), axis=None)[-k]


def test_percentile_by_numpy(measure, large):
    """What the exact percentile is compared with; the magnitudes are given."""
    values, k = np.abs(large.numpy()).reshape(-1), rank(large.numel(), 95)
    measure(np.partition, lambda: (values, values.size - k), floor=values.nbytes, rounds=5)


def test_quantize(measure, large):
    """The scale from one reading; entries are rounded later, as their digits are written."""
    measure(quantize, lambda: (large, 95, BETA), floor=large.nbytes)


@pytest.mark.parametrize("strategy", ["column", "both", "mix", "block"])
def test_unpack(measure, rounded, strategy):
    """The operands are read once in float32, and their digits written once."""
    made = load_strategy(strategy, 32)
    problem = made.unpack(*fresh(rounded))
    floor = sum(operand.operand.nbytes for operand in rounded) + digit_bytes(problem)
    measure(made.unpack, lambda: fresh(rounded), floor=floor, r=problem.ratio)


@pytest.mark.parametrize("strategy", ["column", "block"])
def test_pack(measure, rounded, strategy):
    """Every product is read once in 32 bits, and C written once in 64."""
    problem = load_strategy(strategy, 32).unpack(*fresh(rounded))
    results = [
        torch.ones(product.a.shape[0], product.b.shape[0], dtype=torch.int32)
        for product in problem.products
    ]
    floor = sum(result.nbytes for result in results) + 8 * SIZE * SIZE
    measure(pack, lambda: (problem, results), floor=floor, products=len(results))


def test_greedy_both(measure):
    """UnpackBoth of a matrix in which nearly every line is hit; its entries are read once."""
    operand, system = quantize(normal(1536, 576), 95, 15), DigitSystem("paper", 4)
    measure(
        cover,
        lambda: (IntegerOperand(operand, system), 0, "both"),
        floor=operand.operand.nbytes,
    )
