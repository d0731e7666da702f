"""Counts from a sample of rows, and from a profile, beside those of whole and of real operands."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import fmean, median

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.routes.sketched import ROWS, STEADY, Scaling, sampled_rows
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from workloads import open_bundle
from workloads.capture import Sampling
from workloads.drawing import Drawing
from workloads.models.extraction import extract
from workloads.models.opening import open_model
from workloads.models.text import Text, shipped_text
from workloads.profile import find, measure, shipped_profile
from workloads.tiling import Tile, tiled

DATA = Path(__file__).parents[3] / "workloads" / "data"

N, D, H = 20480, 256, 9216
"""More rows than a sample of 4096 columns has, and few columns, so that counts take seconds."""
FEWER = 6144
"""Rows of A where a strategy takes long."""


@pytest.fixture(scope="module")
def operands():
    profile = shipped_profile()
    shapes = {"a": (N, D), "b": (H, D)}
    drawn = (
        Drawing(profile[f"linear/forward/{side}"], shape, True, side).draw()
        for side, shape in shapes.items()
    )
    return [quantize(x, 95, 15) for x in drawn]


def ratio(operands, bits, strategy, rows, most=N):
    system = DigitSystem("balanced", bits)
    integers = [
        IntegerOperand(x.values[:count], system)
        for x, count in zip(operands, (rows.a, rows.b), strict=True)
    ]
    problem = load_strategy(strategy, 32 if strategy == "block" else None).unpack(*integers)
    (n, d), (h, _) = (x.values.shape for x in operands)
    n = min(n, most)
    return Scaling(problem.shape, (1, n, d, h)).problem(problem).ratio


def sampled_and_whole(operands, bits, strategy):
    sample = sampled_rows(strategy, 32, 4096)
    assert (sample.a, sample.b) == (16384, 4096)
    return [ratio(operands, bits, strategy, rows) for rows in (sample, PerOperand(N, H))]


def fewer_and_more(operands, bits, strategy):
    counts = (PerOperand.both(ROWS), PerOperand(FEWER, H))
    return [ratio(operands, bits, strategy, rows, FEWER) for rows in counts]


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
    sampled, whole = fewer_and_more(operands, bits, strategy)
    assert sampled == pytest.approx(whole, rel=0.02)


def test_a_sample_of_what_unpacks_columns_in_any_case_is_too_low(operands):
    """The more rows, the larger the largest entry of a column; so these are counted whole."""
    sampled, whole = fewer_and_more(operands, 5, "column/column")
    assert sampled < 0.97 * whole
    assert sampled_rows("column/column", None, 4096) is None
    assert sampled_rows("both/row", None, 4096) is None


def test_as_few_rows_of_activations_as_of_weights_would_be_too_low(operands):
    """Their columns are larger the more rows there are; rows of weights are alike."""
    whole = ratio(operands, 5, "mix", PerOperand(N, H))
    assert ratio(operands, 5, "mix", PerOperand(ROWS, H)) < 0.95 * whole
    assert ratio(operands, 5, "mix", PerOperand(N, ROWS)) > 0.99 * whole


def test_how_many_rows_are_drawn():
    assert sampled_rows("mix", None, 11008) == PerOperand(6096, ROWS)
    assert sampled_rows("mix", None, 1 << 14) == PerOperand.both(ROWS)
    assert sampled_rows("mix", None, 1024) == PerOperand(1 << 16, 1 << 14)
    assert sampled_rows("block", 32, 0).b >= ROWS
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
    rows = sampled_rows("mix", None, 576).b
    assert rows == 29127 < len(head.weight)
    for bits in range(2, 9):
        sampled, whole = (
            ratio(operands, bits, "mix", PerOperand.both(count)) for count in (rows, 49152)
        )
        assert (0.93 if bits == 5 else 0.998) < sampled / whole <= 1


def drawn_over_real(gemm, profile, bits=range(2, 9)):
    """r of operands drawn from a profile over that of the GEMM's own, for each width."""
    real = [x if x.ndim == 3 else x[None] for x in gemm.load()]
    drawn = [
        Drawing(
            find(profile, gemm.op, gemm.phase, side, gemm.name),
            tuple(x.shape[1:]),
            bool((x < 0).any()),
            side,
        ).draw()[None]
        for side, x in zip("ab", real, strict=True)
    ]
    rounded = [[quantize(x.float(), 95, 15) for x in pair] for pair in (drawn, real)]
    return [counted(rounded[0], b) / counted(rounded[1], b) for b in bits]


def counted(operands, bits):
    """The mean r of the matrices of a batch, which have one scale."""
    system = DigitSystem("balanced", bits)
    heads = [
        [IntegerOperand(x.values[head], system) for x in operands]
        for head in range(len(operands[0].values))
    ]
    return fmean(load_strategy("mix", None).unpack(*pair).ratio for pair in heads)


def test_counts_of_a_profile_beside_those_of_the_operands_it_was_measured_on():
    """Heavy columns and rows are drawn as they were; one distribution for all gave up to 2.14."""
    found = [drawn_over_real(gemm, measure([gemm])) for gemm in captures()]
    assert 0.95 < min(map(min, found)) < max(map(max, found)) < 1.3
    assert 0.98 < median(chain(*found)) < 1.03


def test_counts_of_the_shipped_profile_beside_those_of_captures_of_other_text():
    """Heads and layers of attention differ from each other; docs/emulator.md says by how much."""
    found = [(gemm.op, drawn_over_real(gemm, shipped_profile())) for gemm in captures()]
    linear = [ratios for op, ratios in found if op == "linear"]
    attention = [ratios for op, ratios in found if op != "linear"]
    assert (len(linear), len(attention)) == (3, 3)
    assert 0.95 < min(map(min, linear)) < max(map(max, linear)) < 1.35
    assert 0.95 < min(map(min, attention)) < max(map(max, attention)) < 1.65
    assert 0.98 < median(chain(*linear, *attention)) < 1.12


def test_one_distribution_for_all_columns_would_be_seen():
    """Entries in any order are what a profile without classes says of them."""
    (gemm,) = (gemm for gemm in captures() if gemm.name == "smollm2.q")
    profile = measure([gemm])
    order = torch.Generator().manual_seed(0)
    mixed = [
        x.flatten()[torch.randperm(x.numel(), generator=order)].reshape(x.shape)
        for x in gemm.load()
    ]
    without = measure([replace(gemm, load=lambda: mixed)])
    assert max(drawn_over_real(gemm, without)) > 1.5 > 1.1 > max(drawn_over_real(gemm, profile))


@pytest.mark.weights
def test_counts_of_the_shipped_profile_beside_those_of_other_layers_and_other_text(tmp_path):
    """Layers 7 and 20 are not among those that were measured; docs/emulator.md has the table."""
    text = Text("its middle", shipped_text().content[200_000:400_000])
    sampling = Sampling(gemms=["*.layers.7.*", "*.layers.20.*"], phases=("forward",), heads=3)
    path = tmp_path / "others.safetensors"
    extract(open_model("smollm2-135m", text, tokens=256), path, sampling)
    gemms = open_bundle(path).gemms
    linear, attention = (
        [drawn_over_real(gemm, shipped_profile()) for gemm in gemms if (gemm.op == "linear") is one]
        for one in (True, False)
    )
    assert (len(linear), len(attention)) == (14, 4)
    for ratios in zip(*linear, strict=True):
        assert 0.97 < median(ratios) < 1.1
        assert 0.85 < min(ratios) <= max(ratios) < 1.3
    for ratios in zip(*attention, strict=True):
        assert 0.8 < median(ratios) < 1.25
        assert 0.85 < min(ratios) <= max(ratios) < 1.65
