"""The low-bit GEMM of every installed backend that runs here, on prepared digits.

Compare two states of the code with ``pytest-benchmark compare``.
"""

import timeit

import pytest
import torch

from gemm_backends import GemmSpec, list_backends, load_backend

SIZES = (256, 32)
"""n = d = h, and that of backends that would take longer than `LONG_S`, such as simulators."""

LONG_S = 5.0
BITS = 8


def digits(bits, size, seed):
    largest = 2 ** (bits - 1) - 1
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, (size, size), generator=generator, dtype=torch.int8)


def size_for(backend, bits):
    """Return the size that a product is timed at, by the fastest of some small ones."""
    large, small = SIZES
    a, b = (digits(bits, small, seed) for seed in (0, 1))
    fastest = min(timeit.repeat(lambda: backend.multiply(a, b), number=1, repeat=5))
    return large if fastest * (large / small) ** 3 < LONG_S else small


def bench(measure, backend, bits):
    """Floor: the digits of A and B read, 32-bit sums written, each once."""
    size = size_for(backend, bits)
    a, b = (backend.prepared(digits(bits, size, seed)) for seed in (0, 1))
    measure(
        lambda: backend.multiply(a, b), floor=2 * size**2 + 4 * size**2, rounds=5, size=size,
        gops=lambda seconds: 2 * size**3 / seconds / 1e9,
    )  # fmt: skip


@pytest.mark.parametrize("name", list_backends())
def test_backend(measure, name):
    backend = load_backend(name)
    status = backend.status()
    if not status.available:
        pytest.skip(f"{name}: {status.reason}")
    if status.device != "cpu":
        pytest.skip(f"{name} runs on {status.device}; this times the CPU")
    if not backend.supports(GemmSpec(BITS, BITS, SIZES[0], SIZES[0], SIZES[0])):
        pytest.skip(f"{name} does not multiply {SIZES[0]}³ of {BITS} bits")
    bench(measure, backend.for_bits(BITS, BITS), BITS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulator_bits": 16},
        {"accumulator_bits": 16, "overflow": "saturate"},
        {"accumulator_bits": 20, "overflow": "error"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "ideal",
)
@pytest.mark.parametrize("bits", [2, 4])
def test_emulator(measure, bits, options):
    bench(measure, load_backend("emulator", **options).for_bits(bits, bits), bits)
