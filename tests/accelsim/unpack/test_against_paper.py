"""How much of the paper's overhead is left on real operands: `mix` with its digits is the paper."""

import pytest

from accelsim.arithmetic.rounding import quantize
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import open_bundle
from workloads.shipped import shipped_bundles

GEMMS = [gemm for path in shipped_bundles() for gemm in open_bundle(path).gemms]


def problems(beta, bits, strategy, digits, block=None):
    """Unpack every GEMM."""
    made, system = load_strategy(strategy, block), DigitSystem(digits, bits)
    return [
        made.unpack(*(IntegerOperand(quantize(x, 95, beta), system) for x in gemm.load()))
        for gemm in GEMMS
    ]


def overhead(found):
    """Return r - 1 of all GEMMs together, by their multiplications."""
    return sum(x.correction_macs for x in found) / sum(x.dense_macs for x in found)


@pytest.mark.parametrize(
    ("beta", "bits", "block", "kept"),
    [(127, 8, 32, 0.36), (127, 8, 16, 0.23), (15, 5, 32, 0.34), (15, 5, 16, 0.22)],
)
def test_blocks_keep_a_share_of_the_overhead(beta, bits, block, kept):
    paper = problems(beta, bits, "mix", "paper")
    ours = problems(beta, bits, "block", "balanced", block)
    assert 0 < overhead(ours) <= 0.9 * kept * overhead(paper)
    for mine, theirs in zip(ours, paper, strict=True):
        assert mine.low_bit_macs <= theirs.low_bit_macs


def test_balanced_digits_of_two_bits_take_half_as_many_multiplications():
    paper, ours = problems(15, 2, "mix", "paper"), problems(15, 2, "mix", "balanced")
    assert sum(x.low_bit_macs for x in ours) <= 0.5 * sum(x.low_bit_macs for x in paper)
