"""The peak rate of a backend: one roof of a roofline; the other is a device's bandwidth."""

from __future__ import annotations

import torch

from accelsim.measure.timing import measure
from accelsim.types import PerOperand
from gemm_backends import GemmBackend, GemmSpec

_REPEATS = 3
_LONG_MS = 100.0
_SIZES = (128, 256, 512, 1024, 2048, 4096, 8192)


def peak_tops(backend: GemmBackend, bits: PerOperand[int], device: torch.device) -> float | None:
    """Return the highest rate of square GEMMs of random digits, in 10^12 operations per second.

    Sizes double until one call takes 100 ms. A multiply-add is two operations.

    Parameters
    ----------
    backend : GemmBackend
        What multiplies.
    bits : PerOperand of int
        The width of the digits.
    device : torch.device
        Where it does.

    Returns
    -------
    float or None
        None if it supports no such GEMM.
    """
    rates = []
    for size in _SIZES:
        if not backend.supports(GemmSpec(bits.a, bits.b, size, size, size)):
            continue
        a, b = (backend.prepared(_digits(width, size, device)) for width in (bits.a, bits.b))
        times = measure(lambda a=a, b=b: backend.multiply(a, b), _REPEATS, 1, device)  # type: ignore[misc]
        fastest_ms = min(times.milliseconds)
        rates.append(2 * size**3 / (fastest_ms * 1e9))
        if fastest_ms > _LONG_MS / 8:  # the next size takes eight times as long
            break
    return max(rates, default=None)


def _digits(bits: int, size: int, device: torch.device) -> torch.Tensor:
    """Return random digits of the full symmetric range that balanced and paper digits share."""
    largest = 2 ** (bits - 1) - 1
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-largest, largest + 1, (size, size), generator=generator, device="cpu")
    return values.to(device, torch.int8 if bits <= 8 else torch.int16)
