"""Time one product on every backend and in every floating-point type, and check the integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from accelsim.arithmetic.oracle import compare, oracle
from accelsim.measure.interleave import interleaved
from gemm_backends import GemmBackend
from gemm_backends.baselines import list_baselines, load_baseline

SLOW = ("fp32", "fp64")
"""Without Tensor Cores or nearly so: few repeats tell enough."""

POISON = 0x7BADBEEF


def time_gemms(
    shape: tuple[int, int, int],
    backends: Sequence[GemmBackend],
    repeats: int,
    device: torch.device,
) -> dict[str, Any]:
    """Time ``A @ B.T`` with prepared operands: the products alone.

    Parameters
    ----------
    shape : tuple of int
        n, h and d.
    backends : sequence of GemmBackend
        Each gets random digits over the full range of its widths. The memory that its result lands
        in is filled with another number before the run that is checked.
    repeats : int
        Timed repeats of each, in turn.
    device : torch.device
        A CUDA device.

    Returns
    -------
    dict
        Plain JSON types; times are medians and quartiles in ms. ``all_exact`` says whether every
        integer of every backend was right.
    """
    n, h, d = shape
    generator = torch.Generator(device).manual_seed(0)
    floats = [torch.randn((rows, d), generator=generator, device=device) for rows in (n, h)]
    calls: dict[str, Callable[[], Tensor]] = {}
    for name in list_baselines():
        baseline = load_baseline(name)
        if baseline.availability(str(device)).available:
            x, y = map(baseline.prepare, floats)
            calls[name] = lambda x=x, y=y, baseline=baseline: baseline.matmul(x, y)  # type: ignore[misc]
    found: dict[str, dict[str, Any]] = {}
    for backend in backends:
        a, b = (_digits(backend, side, (rows, d), generator) for side, rows in enumerate((n, h)))
        x, y = backend.prepared(a), backend.prepared(b)
        name = backend.name

        def multiply(backend: GemmBackend = backend, x: Any = x, y: Any = y) -> Tensor:
            return backend.multiply(x, y)

        multiply().fill_(POISON)  # the allocator hands out this memory again
        verdict = compare(multiply().to(torch.int64), oracle(a, b))
        found[name] = {
            "exact": verdict.exact,
            "mismatches": verdict.mismatches,
            "execution": backend.status().execution,
        }
        calls[name] = multiply
    quick = {name: call for name, call in calls.items() if name not in SLOW and not _slow(call)}
    slow = {name: call for name, call in calls.items() if name not in quick}
    samples = interleaved(quick, repeats, 3, device)
    if slow:
        samples |= interleaved(slow, min(repeats, 3), 1, device)
    return {
        "all_exact": all(entry["exact"] for entry in found.values()),
        "time_ms": {name: samples[name].summary() for name in calls},
        "backends": found,
    }


def _digits(
    backend: GemmBackend, side: int, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    half = 1 << (backend.operand_bits[side] - 1)
    digits = torch.randint(-half, half, shape, generator=generator, device=generator.device)
    return digits.to(torch.int8)


def _slow(call: Callable[[], Tensor]) -> bool:
    """Whether a call takes more than 5 ms."""
    times = interleaved({"": call}, 1, 1, torch.device("cuda"))
    return times[""].milliseconds[0] > 5
