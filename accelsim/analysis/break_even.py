"""At what unpack ratio low-bit integers lose to a wider or a float format: a model of the time.

For a GEMM of ``M = batch * n * d * h`` multiplications, digits of b bits, S_b operations a second
and W bytes a second of memory::

    t(b, r) = 2 M r / S_b + (8 E + r (E b / 8 + 4 O) + 8 O) / W

with ``E = batch * (n + h) * d`` entries of operands and ``O = batch * n * h`` of the result. The
front end reads the operands twice in float32 (for the scale, and to round), writes at most r times
their digits, reads at most r times the sums of C in 32 bits, and writes C in 64. A float format of
w bytes takes ``2 M / S + (w E + max(w, 2) O) / W``: it reads its operands once and writes C, that
of 8-bit floats in 16 bits. Low-bit loses from the r on at which ``t(b, r)`` reaches the other's
time.

Notes
-----
The factor r for digits and sums is a bound for covers by rows and columns: with n', d' and h' for
the unpacked sizes, r is ``n' d' h' / (n d h)``, so that none of ``n' d' / (n d)``,
``h' d' / (h d)`` and ``n' h' / (n h)`` is above it. Blocks of t columns give more sums than that,
``(r - 1) d / t`` times those of C, where an accelerator does not add them up itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.errors import InputError, unknown_name
from workloads import Gemm

FLOAT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
"""Bytes of an entry in memory, by format."""


@dataclass(frozen=True)
class Integers:
    """Products of b-bit digits on some hardware.

    Parameters
    ----------
    bits : int
        Width of a digit.
    tops : float
        10^12 operations a second; a multiply-add is two.
    bandwidth : float or None
        10^9 bytes of memory a second; None leaves the front end out.
    """

    bits: int
    tops: float
    bandwidth: float | None = None

    def seconds(self, gemm: Gemm, ratio: float) -> float:
        """Return the time of a GEMM that unpacking makes `ratio` times as large."""
        fixed, each = self._terms(gemm)
        return fixed + ratio * each

    def break_even(self, gemm: Gemm, other_s: float) -> float:
        """Return the unpack ratio at which this takes `other_s` seconds; below 1 it never wins."""
        fixed, each = self._terms(gemm)
        return (other_s - fixed) / each

    def _terms(self, gemm: Gemm) -> tuple[float, float]:
        """Return the seconds that do not depend on the ratio, and those for each unit of it."""
        each = float_seconds(gemm, self.tops)
        if self.bandwidth is None:
            return 0.0, each
        entries, results = _entries(gemm)
        bytes_per_second = self.bandwidth * 1e9
        return (
            (8 * entries + 8 * results) / bytes_per_second,
            each + (entries * self.bits / 8 + 4 * results) / bytes_per_second,
        )


def float_seconds(
    gemm: Gemm, tops: float, bandwidth: float | None = None, name: str = "fp32"
) -> float:
    """Return the time of the original GEMM in a float format.

    Parameters
    ----------
    gemm : Gemm
        What is multiplied.
    tops : float
        10^12 operations a second; a multiply-add is two.
    bandwidth : float, optional
        10^9 bytes of memory a second; None leaves the memory out.
    name : str
        The format, by which its bytes are known; without `bandwidth` any name will do.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InputError
        If the bytes of the format are not known.
    """
    multiplying = 2 * gemm.macs / (tops * 1e12)
    if bandwidth is None:
        return multiplying
    if name not in FLOAT_BYTES:
        raise InputError(unknown_name("float format", name, FLOAT_BYTES))
    width = FLOAT_BYTES[name]
    entries, results = _entries(gemm)
    return multiplying + (width * entries + max(width, 2) * results) / (bandwidth * 1e9)


def _entries(gemm: Gemm) -> tuple[int, int]:
    """Return the entries of both operands and those of the result."""
    return gemm.batch * (gemm.n + gemm.h) * gemm.d, gemm.batch * gemm.n * gemm.h
