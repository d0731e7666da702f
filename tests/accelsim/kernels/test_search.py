"""The search for a rank's key, as the row pass of the GPU makes it, compiled for the host."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from accelsim.kernels.nvcc import CSRC

COMPILER = shutil.which("c++") or shutil.which("g++")
MOST_STEPS = 64
"""More than twice the binary search of 31 bits needs; a walk from key to key needs millions."""

FORMATS = {"float32": (16, 0x7F800000), "float16": (3, 0x7C00), "bfloat16": (0, 0x7F80)}
"""The row pass's bins are ``2**shift`` keys wide; keys end at infinity."""


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    library = tmp_path_factory.mktemp("search") / "search.so"
    source = Path(__file__).with_name("search_on_host.cpp")
    flags = ["-std=c++20", "-O2", "-shared", "-fPIC", f"-I{CSRC}"]
    subprocess.run([COMPILER, *flags, "-o", library, source], check=True)
    function = ctypes.CDLL(library).search

    def run(keys, rank, low, high, step):
        key = ctypes.c_uint()
        steps = function(
            keys.ctypes.data_as(ctypes.c_void_p), len(keys), int(rank), ctypes.c_uint(low),
            ctypes.c_uint(high), ctypes.c_uint(step), 10 * MOST_STEPS, ctypes.byref(key),
        )  # fmt: skip
        return key.value, steps

    return run


def draw_keys(r, name):
    """Draw sorted keys of magnitudes: long tails, ties, zeros, and some that are far larger."""
    count = int(r.integers(1, 3000))
    kinds = (
        lambda: r.normal(size=count),
        lambda: r.random(count),
        lambda: r.normal(size=count) ** 5,
        lambda: np.exp(4 * r.normal(size=count)),
        lambda: r.integers(-3, 4, count).astype(float),
        lambda: r.normal(size=count) * np.where(r.random(count) < 0.01, 1e4, 1),
        lambda: r.normal(size=count) * (r.random(count) < 0.2),
        lambda: np.full(count, 1.0),
    )
    values = np.abs(kinds[r.integers(len(kinds))]()) * 10.0 ** r.integers(-6, 4)
    if name == "float16":
        keys = np.minimum(values, 65504).astype(np.float16).view(np.uint16)
    else:
        keys = values.astype(np.float32).view(np.uint32) >> (16 if name == "bfloat16" else 0)
    return np.sort(keys.astype(np.uint32))


def draw_brackets(r, name, keys, rank):
    """Yield what a guess can leave: nothing known, all below it, all above it, and a bin."""
    shift, infinity = FORMATS[name]
    largest, answer = int(keys[-1]), int(keys[-rank])
    yield 0, largest + 1
    guess = int(r.integers(1, infinity + 1))
    for limit in (guess, infinity, min(infinity, answer + int(r.integers(1, 5)))):
        if limit > answer:
            yield 0, limit
    for limit in (int(r.integers(0, answer + 1)), answer):
        yield limit, largest + 1
    low = max(0, answer - int(r.integers(0, 1 << shift)))
    yield low, low + (1 << shift)


@pytest.mark.parametrize("name", FORMATS)
def test_it_finds_the_key_in_few_steps(search, name):
    r = np.random.default_rng(5)
    most = 0
    for _ in range(3000):
        keys = draw_keys(r, name)
        rank = int(r.integers(1, len(keys) + 1))
        for low, high in draw_brackets(r, name, keys, rank):
            key, steps = search(keys, rank, low, high, 16 << FORMATS[name][0])
            assert key == keys[-rank], (rank, low, high)
            most = max(most, steps)
    assert 3 < most <= MOST_STEPS


def test_a_guess_far_beyond_everything_costs_no_walk(search):
    # Rows of [0, 1), with the ratio of other rows: the search walked down from key to key.
    keys = np.sort(np.random.default_rng(1).random(1384, dtype=np.float32).view(np.uint32))
    for guess in (0x3F900000, 0x5F000000, 0x7F800000):
        key, steps = search(keys, 692, 0, guess, 16 << 16)
        assert key == keys[-692]
        assert steps <= MOST_STEPS
