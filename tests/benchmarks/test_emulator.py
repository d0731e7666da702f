"""The emulator's paths against a NumPy loop, the CPU's int8 backend and the simulated array."""

import numpy as np
import pytest
import torch

from gemm_backends import load_backend
from gemm_backends.rtl.tools import missing

SIZE = 512

PATHS = {
    "exact by matrix multiplication": {"bits": 8},
    "saturating at every step": {"bits": 8, "accumulator_bits": 18, "overflow": "saturate"},
    "saturating, tree of 4": {
        "bits": 8,
        "accumulator_bits": 18,
        "overflow": "saturate",
        "tree": 4,
    },
    "table, wrapping": {"bits": 8, "multiplier": "mitchell"},
    "table, saturating": {
        "bits": 8,
        "multiplier": "mitchell",
        "accumulator_bits": 18,
        "overflow": "saturate",
    },
}


def operands(bits, size):
    generator = torch.Generator().manual_seed(0)
    limit = 1 << (bits - 1)
    return [
        torch.randint(-limit, limit, (size, size), generator=generator).to(torch.int8)
        for _ in range(2)
    ]


def macs_per_second(size):
    return lambda median: size**3 / median / 1e9


def run(measure, backend, bits, size, rounds=7):
    a, b = operands(bits, size)
    x, y = backend.prepared(a), backend.prepared(b)
    return measure(
        lambda: backend.multiply(x, y),
        floor=a.nbytes + b.nbytes + 4 * size * size,
        rounds=rounds,
        GMAC_a_second=macs_per_second(size),
    )


@pytest.mark.parametrize("path", PATHS)
def test_emulator(measure, path):
    run(measure, load_backend("emulator", **PATHS[path]), 8, SIZE)


def test_cpu_int8(measure):
    run(measure, load_backend("cpu-int8"), 8, SIZE)


def test_numpy_loop(measure):
    """Saturation with one NumPy operation a step: what one would write first."""
    size = 128
    a, b = (x.numpy().astype(np.int64) for x in operands(8, size))

    def loop():
        state = np.zeros((size, size), np.int64)
        for k in range(size):
            state = np.clip(state + np.outer(a[:, k], b[:, k]), -(1 << 17), (1 << 17) - 1)
        return state

    result = measure(
        loop,
        floor=2 * size * size + 4 * size * size,
        rounds=7,
        GMAC_a_second=macs_per_second(size),
    )
    backend = load_backend("emulator", **PATHS["saturating at every step"])
    assert np.array_equal(backend.multiply(*operands(8, size)).numpy(), result)


@pytest.mark.skipif(bool(missing(yosys=False)), reason=missing(yosys=False))
def test_verilator(measure):
    options = {"bits": 8, "accumulator_bits": 18, "overflow": "saturate"}
    run(measure, load_backend("rtl-systolic", **options), 8, 64, rounds=5)
