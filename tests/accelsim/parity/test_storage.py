"""Huffman codes and entropy against codes that are worked out by hand."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from accelsim.parity.storage import storage, weight_storage
from accelsim.types import Rounding


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([4, 2, 1, 1], 4 * 1 + 2 * 2 + 3 + 3),
        ([1, 1, 1, 1], 8),
        ([5, 1], 6),
        ([7], 7),
        ([3, 3, 2, 1], 3 * 2 + 3 * 1 + 2 * 3 + 1 * 3),
        ([], 0),
    ],
)
def test_codes_by_hand(counts, bits):
    values = [symbol - 1 for symbol, count in enumerate(counts) for _ in range(count)]
    found = storage(torch.tensor(values, dtype=torch.int32))
    assert found.huffman_bits == bits
    assert found.parameters == len(values)


def shortest(counts):
    """The best prefix code, by trying all code lengths that Kraft's inequality allows."""
    longest = range(1, len(counts))
    lengths = itertools.product(longest, repeat=len(counts))
    return min(
        sum(c * length for c, length in zip(counts, chosen, strict=True))
        for chosen in lengths
        if sum(2.0**-length for length in chosen) <= 1
    )


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_no_prefix_code_is_shorter_and_the_entropy_bounds_it(counts):
    values = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = storage(values)
    assert found.huffman_bits == shortest(counts)
    assert found.entropy_bits <= found.huffman_bits + 1e-9
    assert found.huffman_bits <= found.entropy_bits + found.parameters


def test_a_shared_weight_counts_once():
    torch.manual_seed(0)
    first, second = nn.Linear(16, 8), nn.Linear(16, 8)
    second.weight = first.weight
    found = weight_storage(nn.Sequential(first, second), Rounding(95, 31)).summary()
    assert found["parameters"] == 16 * 8
    assert 0 < found["entropy_bits_per_parameter"] <= found["huffman_bits_per_parameter"] < 7
    assert math.isclose(storage(torch.zeros(5, dtype=torch.int32)).entropy_bits, 0)
