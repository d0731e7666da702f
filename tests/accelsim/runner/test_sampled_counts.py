"""Counts from a sample of rows beside those of whole operands, for every width."""

import pytest

from accelsim.arithmetic.rounding import quantize
from accelsim.routes.sketched import ROWS, STEADY, Scaling, sampled_rows
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads.profile import Drawing, shipped_profile

N, D, H = 6144, 256, 9216
"""More rows than a sample has at least, and few columns, so that whole counts take seconds."""


@pytest.fixture(scope="module")
def operands():
    profile = shipped_profile()
    shapes = {"a": (N, D), "b": (H, D)}
    drawn = (
        Drawing(profile[f"linear/forward/{side}"], shape, True, side).draw()
        for side, shape in shapes.items()
    )
    return [quantize(x, 95, 15) for x in drawn]


def ratio(operands, bits, strategy, rows):
    system = DigitSystem("balanced", bits)
    integers = [IntegerOperand(x.values[:rows], system) for x in operands]
    problem = load_strategy(strategy, 32 if strategy == "block" else None).unpack(*integers)
    return Scaling(problem.shape, (1, N, D, H)).problem(problem).ratio


def sampled_and_whole(operands, bits, strategy):
    return [ratio(operands, bits, strategy, rows) for rows in (ROWS, H)]


@pytest.mark.parametrize("strategy", ["mix", "row/row", "block"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_sample_gives_the_ratio_of_the_whole(operands, bits, strategy):
    assert strategy in STEADY
    sampled, whole = sampled_and_whole(operands, bits, strategy)
    assert sampled == pytest.approx(whole, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["optimal", "best"])
@pytest.mark.parametrize("bits", range(3, 9))
def test_a_sample_gives_the_ratio_of_slow_strategies(operands, bits, strategy):
    sampled, whole = sampled_and_whole(operands, bits, strategy)
    assert sampled == pytest.approx(whole, rel=0.02)


def test_a_sample_of_what_unpacks_columns_in_any_case_is_too_low(operands):
    """The more rows, the larger the largest entry of a column; so these are counted whole."""
    sampled, whole = sampled_and_whole(operands, 7, "column/column")
    assert sampled < 0.97 * whole
    assert sampled_rows("column/column", None, 4096) is None
    assert sampled_rows("both/row", None, 4096) is None


def test_how_many_rows_are_drawn():
    assert sampled_rows("mix", None, 11008) == ROWS
    assert sampled_rows("mix", None, 1024) == 1 << 14
    assert sampled_rows("block", 32, 0) >= ROWS
    assert sampled_rows("block", 1, 11008) is None
