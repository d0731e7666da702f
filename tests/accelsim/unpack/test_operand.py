"""Counting and writing digits: the compiled kernels against torch operations."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.rounding import begin_quantizing, quantize
from accelsim.unpack import DigitSystem, IntegerOperand, list_strategies, load_strategy
from accelsim.unpack.kernels.generic import GenericKernels

SYSTEM = DigitSystem("balanced", 4)
SYSTEMS = st.builds(DigitSystem, st.sampled_from(["paper", "balanced"]), st.integers(2, 16))


def heavy(n, d, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, d, generator=generator) ** 5
    return values * (scale / values.abs().max().clamp(min=1e-9)) if values.numel() else values


@given(
    st.tuples(st.integers(0, 7), st.integers(0, 40)),
    SYSTEMS,
    st.sampled_from([3.0, 300.0, 2.0e9, 4.6e18]),
    st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_kernels_give_what_torch_gives(shape, system, scale, seed):
    values = heavy(*shape, seed, scale).round().to(torch.int32 if scale < 2**31 else torch.int64)
    operand = IntegerOperand(values, system)
    generic = GenericKernels(values, system)
    assert torch.equal(operand.survey.rows, generic.row_levels())
    assert torch.equal(operand.survey.columns, generic.column_levels())
    assert operand.survey.out_of_bound == generic.out_of_bound()
    assert torch.equal(operand.counts, generic.counts())
    assert torch.equal(operand.counts[0].long(), system.count(values))
    if operand.survey.out_of_bound[0]:
        for found, right in zip(operand.outside(0), generic.outside(0), strict=True):
            assert torch.equal(found, right)
    rows = operand.survey.rows[0]

    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(shape[1], generator=generator)[: shape[1] // 2]
    levels = torch.randint(1, 6, chosen.shape, generator=generator)
    skip = (levels - 1).clamp(max=3)
    everything = torch.zeros(shape[1], dtype=torch.int64), torch.ones(shape[1], dtype=torch.bool)
    for arguments in ((None, *everything), (chosen, skip, levels == skip + 1)):
        expected = generic.digits(0, rows, *arguments)
        assert torch.equal(operand.digits(0, rows, *arguments), expected)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("shape", [(5, 33), (3, 4, 7), (300, 700), (0, 2, 4), (2, 0, 4), (1, 1)])
def test_rounding_on_the_way_gives_the_stored_integers(shape, granularity):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) ** 3
    quantized = quantize(x, 95, 31, granularity)
    system = DigitSystem("balanced", 3)
    fused, stored = IntegerOperand(quantized, system), IntegerOperand(quantized.values, system)
    assert fused.shape == stored.shape
    assert torch.equal(fused.counts, stored.counts)
    assert fused.survey.out_of_bound == stored.survey.out_of_bound
    skip = torch.zeros(shape[-1], dtype=torch.int64)
    for head in range(fused.shape[0]):
        rows = stored.survey.rows[head]
        assert torch.equal(fused.survey.rows[head], rows)
        assert torch.equal(
            fused.digits(head, rows, None, skip, skip == 0),
            stored.digits(head, rows, None, skip, skip == 0),
        )


def test_a_scale_of_another_row_is_noticed():
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 5)[:, None]
    right = quantize(x, 95, 31, "row")
    wrong = replace(right, scale=right.scale.roll(1, 0))
    system = DigitSystem("balanced", 4)
    counts = [IntegerOperand(q, system).survey.out_of_bound for q in (right, wrong)]
    assert counts[0] != counts[1]


def test_a_prepared_operand_writes_a_whole_matrix_once():
    values = torch.randint(-900, 900, (2, 6, 9), generator=torch.Generator().manual_seed(1))
    operand = IntegerOperand(values, DigitSystem("balanced", 8), prepared=True)
    rows, skip = operand.survey.rows, torch.zeros(9, dtype=torch.int64)
    first = operand.digits(0, rows[0], None, skip, skip == 0)
    other = operand.digits(1, rows[1], None, skip, skip == 0)
    assert operand.digits(0, rows[0], None, skip, skip == 0) is first
    assert operand.kept(0) is first
    assert operand.kept(1) is other
    deeper = operand.digits(0, rows[0] + 1, None, skip, skip == 0)
    assert len(deeper) == len(first) + 6
    some = torch.arange(9)
    assert operand.digits(0, rows[0], some, skip, skip == 0) is not first
    assert operand.kept(0) is deeper
    assert operand.kept(1) is other


class Spy:
    """Kernels that look at what they are asked to write."""

    def __init__(self, kernels):
        self._kernels = kernels

    def __getattr__(self, name):
        return getattr(self._kernels, name)

    def digits(self, head, row_levels, columns, skip, last):
        for levels in (row_levels, skip, *([] if columns is None else [columns])):
            assert levels.dtype == torch.int64
        assert last.dtype == torch.bool
        width = self.shape[2] if columns is None else len(columns)
        assert (len(row_levels), len(skip), len(last)) == (self.shape[1], width, width)
        return self._kernels.digits(head, row_levels, columns, skip, last)


@pytest.mark.parametrize("strategy", list_strategies())
def test_strategies_ask_for_digits_as_kernels_take_them(strategy):
    pair = [IntegerOperand(heavy(9, 12, seed, 900.0).int(), SYSTEM) for seed in (1, 2)]
    for operand in pair:
        operand.__dict__["kernels"] = Spy(operand.kernels)
    assert load_strategy(strategy).unpack(*pair).low_bit_macs > 9 * 12 * 9


def test_an_operand_that_is_still_being_rounded_is_the_one_that_was():
    x = torch.randn(4, 9, generator=torch.Generator().manual_seed(1)) ** 3
    system = DigitSystem("balanced", 3)
    finish = IntegerOperand.begin(begin_quantizing(x, 95, 31), system)
    found, right = finish(), IntegerOperand(quantize(x, 95, 31), system)
    assert found.system is system
    assert torch.equal(found.heads, right.heads)
    assert torch.equal(found.counts, right.counts)
    assert not found.prepared
