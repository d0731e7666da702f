"""The k-th largest magnitude against a sort, where the guess holds and where it fails."""

import numpy as np
import pytest

from accelsim.arithmetic import percentile
from accelsim.arithmetic.percentile import kth_largest_magnitude, largest_magnitude

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
    return values


@pytest.mark.parametrize("k", [1, 2, COUNT // 1000, COUNT // 20, COUNT // 2, COUNT - 1, COUNT])
@pytest.mark.parametrize(
    "kind", ["normal", "ties", "constant", "zeros", "heavy", "sorted", "subnormal"]
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
