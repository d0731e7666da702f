"""Shifting and adding into C: every kind of line map, in parts of C that fit the cache or not."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.unpack import LowBitProblem, Product, Segment, pack, pack_wide
from accelsim.unpack.kernels import cpu_pack
from accelsim.unpack.pack import pack_by_operations


def line_map(generator, lines, whole):
    """Draw segments, in any order of lines, as P_g and Q_g may have them."""
    segments = [Segment(lines, 0)] if whole else []
    for _ in range(generator.integers(0 if whole else 1, 3)):
        index = generator.permutation(lines)[: generator.integers(0, lines + 1)]
        exponent = int(generator.choice([0, 3, 7, 40, 63]))
        segments.append(Segment(len(index), exponent, torch.from_numpy(index)))
    return tuple(segments)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([4, 1 << 16]))
@settings(max_examples=150, deadline=None)
def test_it_is_what_python_integers_give(seed, n, h, cached):
    generator = np.random.default_rng(seed)
    products, results = [], []
    for number in range(generator.integers(0, 4)):
        rows, columns = (line_map(generator, x, generator.random() < 0.5) for x in (n, h))
        shape = [sum(segment.count for segment in lines) for lines in (rows, columns)]
        empty = torch.zeros((shape[0], 0), dtype=torch.int8), torch.zeros((shape[1], 0))
        dtype = torch.int32 if number % 2 else torch.int64
        result = torch.from_numpy(generator.integers(-(2**20), 2**20, shape)).to(dtype)
        results.append(result.T.contiguous().T if generator.random() < 0.3 else result)
        products.append(Product(*empty, rows, columns, number, int(generator.integers(2))))
    problem = LowBitProblem(products, (2, n, 1, h), "any", 1, 1, 0, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_pack, "CACHED", cached)
        packed = pack(problem, results)
    wide = pack_wide(problem, results)
    wrapped = np.vectorize(lambda x: (int(x) + 2**63) % 2**64 - 2**63, otypes=[np.int64])(wide)
    assert np.array_equal(packed.numpy(), wrapped)
    if results:
        assert np.array_equal(pack_by_operations(problem, results).numpy(), wrapped)


def test_weights_beyond_int64_add_nothing():
    result = torch.tensor([[3]], dtype=torch.int32)
    digits = torch.zeros((1, 1), dtype=torch.int8)
    whole = (Segment(1, 0),)
    products = [Product(digits, digits, whole, whole, exponent) for exponent in (0, 64, 70)]
    problem = LowBitProblem(products, (1, 1, 1, 1), "any", 1, 1, 0, 0)
    for packing in (pack, pack_by_operations):
        assert packing(problem, [result] * 3).tolist() == [[[3]]]


def products_of(*exponents, rows=None):
    """Return a problem of products ``[1, 3]`` with these weights, and their integers."""
    result = torch.tensor([[1, -1, 3]])
    digits = torch.zeros((1, 1), dtype=torch.int8), torch.zeros((3, 1), dtype=torch.int8)
    lines = (Segment(1, 0, rows),)
    products = [Product(*digits, lines, (Segment(3, 0),), exponent) for exponent in exponents]
    return LowBitProblem(products, (1, 1, 1, 3), "any", 1, 1, 0, 0), [result] * len(products)


@pytest.mark.parametrize("first", [(), (0,), (64,)])
@pytest.mark.parametrize("exponent", [0, 1, 61, 62, 63, 64])
@pytest.mark.parametrize("rows", [None, torch.tensor([0])], ids=["in order", "mapped"])
def test_the_largest_weights_are_modulo_2_to_the_64(first, exponent, rows):
    exponents = (*first, exponent)
    problem, results = products_of(*exponents, rows=rows)
    exact = [sum(value << exponent for exponent in exponents) for value in (1, -1, 3)]
    wrapped = [(value + 2**63) % 2**64 - 2**63 for value in exact]
    assert pack(problem, results).tolist() == [[wrapped]]
    assert pack_by_operations(problem, results).tolist() == [[wrapped]]
    assert pack_wide(problem, results).tolist() == [[exact]]


@pytest.mark.parametrize("packing", [pack, pack_by_operations, pack_wide])
def test_a_product_without_its_integers_is_a_mistake(packing):
    problem, results = products_of(0)
    with pytest.raises(ValueError, match="zip"):
        packing(problem, [*results, *results])


def test_the_cpu_has_kernels_of_its_own(monkeypatch):
    problem, results = products_of(0)
    seen = []
    module = sys.modules["accelsim.unpack.pack"]  # the package's attribute is the function
    monkeypatch.setattr(module, "pack_on_cpu", lambda *both: seen.append(both) or "packed")
    assert pack(problem, results) == "packed"
    assert seen == [(problem, results)]
