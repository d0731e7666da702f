"""Counts from a sample of rows, and from a profile, beside those of whole and of real operands."""

from pathlib import Path
from statistics import median

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.routes.sketched import ROWS, STEADY, Scaling, sampled_rows
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import open_bundle
from workloads.models.opening import open_model
from workloads.profile import Drawing, measure, shipped_profile
from workloads.tiling import Tile, tiled

DATA = Path(__file__).parents[3] / "workloads" / "data"

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
    (n, d), (h, _) = (x.values.shape for x in operands)
    return Scaling(problem.shape, (1, n, d, h)).problem(problem).ratio


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


def captures():
    return [
        gemm
        for name in ("smollm2", "minilm")
        for gemm in open_bundle(DATA / f"{name}.safetensors").gemms
    ]


def shuffled(x, seed):
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("name", ["smollm2.q", "smollm2.pv"])
def test_a_sample_of_real_operands_that_fill_a_large_gemm(name):
    """Rows of a capture are repeated to more rows than a sample has."""
    (gemm,) = (gemm for gemm in captures() if gemm.name == name)
    operands = tiled(gemm, Tile(n=N, d=D, h=H)).load()
    rounded = [quantize(shuffled(x, i), 95, 15) for i, x in enumerate(operands)]
    for bits in range(2, 9):
        sampled, whole = sampled_and_whole(rounded, bits, "mix")
        assert sampled == pytest.approx(whole, rel=0.005)


@pytest.mark.weights
def test_a_sample_of_real_rows_is_too_low_where_few_rows_hold_the_largest_of_a_column():
    """The 49,152 rows of a head's weight, none of which is repeated; see docs/emulator.md."""
    opened, inputs = open_model("smollm2-135m", tokens=256), []
    head = next(x for name, x in opened.model.named_modules() if name.endswith("lm_head"))
    head.register_forward_pre_hook(lambda module, args: inputs.append(args[0][0].detach()))
    with torch.no_grad():
        opened.forward()
    operands = [quantize(x, 95, 15) for x in (inputs[0], shuffled(head.weight.detach(), 0))]
    rows = sampled_rows("mix", None, 576)
    assert rows == 29127 < len(head.weight)
    for bits in range(2, 9):
        sampled, whole = (ratio(operands, bits, "mix", count) for count in (rows, 49152))
        assert (0.93 if bits == 5 else 0.998) < sampled / whole <= 1


def test_counts_of_a_profile_beside_those_of_the_operands_it_was_measured_on():
    """Columns of real operands are more unequal than drawn ones: counts are mostly too high."""
    found = []
    for gemm in captures():
        profile = measure([gemm])
        heads = [x if x.ndim == 2 else x[0] for x in gemm.load()]
        drawn = [
            Drawing(
                profile[f"{gemm.op}/{gemm.phase}/{side}"], tuple(x.shape), bool((x < 0).any()), side
            ).draw()
            for side, x in zip("ab", heads, strict=True)
        ]
        for bits in range(2, 9):
            real, modelled = (
                ratio([quantize(x.float(), 95, 15) for x in pair], bits, "mix", None)
                for pair in (heads, drawn)
            )
            found.append(modelled / real)
    assert 0.9 < min(found) < max(found) < 2
    assert 1 < median(found) < 1.15
