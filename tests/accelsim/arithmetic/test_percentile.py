"""The k-th largest magnitude against a sort, where the guess holds and where it fails."""

import math

import numpy as np
import pytest
import torch

from accelsim.arithmetic import percentile
from accelsim.arithmetic.granularity import GRANULARITIES, along_columns, row_scales
from accelsim.arithmetic.percentile import (
    kth_largest_magnitude,
    kth_largest_magnitudes,
    largest_magnitude,
    largest_magnitudes,
)

COUNT = 5 * percentile.SAMPLE


def data(kind):
    generator = np.random.default_rng(3)
    values = generator.standard_normal(COUNT).astype(np.float32)
    if kind == "ties":
        values = np.round(values * 3)
    elif kind == "constant":
        values[:] = -2.5
    elif kind == "zeros":
        values[: COUNT * 9 // 10] = 0
    elif kind == "heavy":
        values[::100] *= 1e6
    elif kind == "sorted":
        values.sort()
    elif kind == "subnormal":
        values *= np.float32(1e-39)
    elif kind == "adjacent":
        values = (0x3F800000 + generator.integers(0, 64, COUNT)).astype(np.int32).view(np.float32)
    return values


@pytest.mark.parametrize("k", [1, 2, COUNT // 1000, COUNT // 20, COUNT // 2, COUNT - 1, COUNT])
@pytest.mark.parametrize(
    "kind", ["normal", "ties", "constant", "zeros", "heavy", "sorted", "subnormal", "adjacent"]
)
def test_it_is_what_a_sort_gives(kind, k):
    values = data(kind)
    assert kth_largest_magnitude(values, k) == np.sort(np.abs(values))[COUNT - k]


@pytest.mark.parametrize("guess", [(0.0, 0.1), (3.0, 4.0), (0.5, 0.5), (9.0, 9.0)])
def test_a_guess_that_misses_is_never_believed(monkeypatch, guess):
    values = data("normal")
    low, high = (np.float32(edge).view(np.int32) for edge in guess)
    monkeypatch.setattr(percentile, "_bracket", lambda bits, k: (low, high))
    for k in (1, COUNT // 20, COUNT // 2, COUNT):
        assert kth_largest_magnitude(values, k) == np.sort(np.abs(values))[COUNT - k]


@pytest.mark.parametrize("kind", ["normal", "zeros", "heavy", "subnormal"])
def test_the_largest_magnitude(kind):
    values = data(kind)
    assert largest_magnitude(values) == np.abs(values).max()
    values[-1] = -np.inf
    assert largest_magnitude(values) == np.inf
    values[7] = np.nan
    assert np.isnan(largest_magnitude(values))


@pytest.mark.parametrize("edges", [(0, 63), (20, 21), (20, 22), (20, 40), (31, 31), (70, 80)])
def test_every_pattern_within_a_bracket_counts(monkeypatch, edges):
    values = data("adjacent")
    ordered = np.sort(values)[::-1]
    low, high = (np.int32(0x3F800000 + edge) for edge in edges)
    monkeypatch.setattr(percentile, "_bracket", lambda bits, k: (low, high))
    counts = np.bincount(values.view(np.int32) - 0x3F800000, minlength=64)[::-1].cumsum()
    for pattern in (0, 1, 22, 23, 24, 41, 42, 43, 44, 62, 63):
        for k in {int(counts[pattern]), min(COUNT, int(counts[pattern]) + 1)}:
            assert kth_largest_magnitude(values, k) == ordered[k - 1], (pattern, k)


@pytest.mark.parametrize("k", [1, 2, COUNT // 1000, COUNT // 20, COUNT // 2, COUNT - 1, COUNT])
@pytest.mark.parametrize("kind", ["normal", "heavy", "subnormal"])
def test_a_guess_is_around_the_answer_and_narrow(kind, k):
    values = data(kind)
    ordered = np.sort(np.abs(values).view(np.int32))
    low, high = percentile._bracket(values.view(np.int32), k)
    assert low <= high
    if 100 < k < COUNT - 100:
        assert low <= ordered[COUNT - k] <= high
    share = k / COUNT
    reach = 2 * (4 * (share * (1 - share) / percentile.SAMPLE) ** 0.5 + 1 / percentile.SAMPLE)
    between = np.searchsorted(ordered, high) - np.searchsorted(ordered, low)
    assert between <= 1.3 * COUNT * reach + 50
    if 100 < k < COUNT - 100:
        assert between >= 0.7 * COUNT * reach - 50


@pytest.mark.parametrize("count", [4 * percentile.SAMPLE, 4 * percentile.SAMPLE + 1])
def test_few_entries_are_not_worth_a_guess(monkeypatch, count):
    guessed = []
    bracket = percentile._bracket
    monkeypatch.setattr(
        percentile, "_bracket", lambda bits, k: guessed.append(k) or bracket(bits, k)
    )
    values = data("normal")[:count]
    assert kth_largest_magnitude(values, 7) == np.sort(np.abs(values))[-7]
    assert guessed == [7][: count - 4 * percentile.SAMPLE]


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_rows_one_by_one(k):
    generator = np.random.default_rng(1)
    values = generator.standard_normal((6, 9)).astype(np.float32) * np.float32(10)
    values[2] = 0
    values[3] *= np.float32(1e-41)
    values[4, 5] = -1e30
    assert kth_largest_magnitudes(values, k).tolist() == np.sort(np.abs(values))[:, -k].tolist()
    assert largest_magnitudes(values).tolist() == np.abs(values).max(axis=1).tolist()
    values[1, 3] = np.nan
    assert np.isnan(largest_magnitudes(values)).tolist() == [False, True] + [False] * 4


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_which_entries_share_a_scale(shape):
    values = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    tensor, row = GRANULARITIES["tensor"], GRANULARITIES["row"]
    assert tensor.groups(values).tolist() == [values.flatten().tolist()]
    assert row.groups(values).tolist() == values.reshape(-1, 4).tolist()
    rows = values.reshape(-1, 4)[:, 0].clone()
    assert row.scale(rows, torch.Size(shape)).tolist() == rows.reshape(*shape[:-1], 1).tolist()
    one = tensor.scale(torch.tensor([2.5]), torch.Size(shape))
    assert (one.shape, one.item()) == ((), 2.5)


@pytest.mark.parametrize("batch", [(), (2,), (1,)])
def test_scales_along_rows_and_columns(batch):
    scales = torch.arange(3.0).expand(*batch, 3)[..., None]
    assert row_scales(scales, (*batch, 3, 5)).tolist() == scales[..., 0].tolist()
    assert (
        row_scales(torch.tensor(2.0), (*batch, 3, 5)).tolist()
        == torch.full((*batch, 3), 2.0).tolist()
    )
    assert along_columns(scales).tolist() == scales.mT.tolist()
    assert along_columns(torch.tensor(2.0)).shape in {(), (1, 1)}
