"""What the dense product of a GEMM costs in digits of b bits; unpacking multiplies it by r."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from accelsim.errors import InputError
from accelsim.tuning.places import Shape
from gemm_backends import GemmBackend, GemmSpec, load_backend
from gemm_backends.cost.accelerators import MODEL, accelerator_options

REPEATS = 3


class Price(ABC):
    """What is made small."""

    unit: str
    """What the numbers count."""

    @abstractmethod
    def dense(self, gemm: Shape, bits: int) -> float:
        """Return the cost of one product of digits as large as a GEMM.

        Parameters
        ----------
        gemm : Shape
            Which GEMM.
        bits : int
            Width of the digits.
        """

    def cost(self, gemm: Shape, bits: int, ratios: tuple[float, float]) -> float:
        """Return the cost of a GEMM whose operands are unpacked to these ratios.

        Parameters
        ----------
        gemm : Shape
            Which GEMM.
        bits : int
            Width of the digits.
        ratios : tuple of float
            Of A and of B, each beside an operand that fits one digit.
        """
        return self.dense(gemm, bits) * ratios[0] * ratios[1]


class Macs(Price):
    """Low-bit multiplications; those of b bits count as (b / 8)² of 8 bits."""

    unit = "multiplications of 8 bits"

    def dense(self, gemm: Shape, bits: int) -> float:
        """Return the multiplications, weighed by their size."""
        return gemm.macs * bits**2 / 64


class Bytes(Price):
    """Bytes of the digits that the products read, each once."""

    unit = "bytes"

    def dense(self, gemm: Shape, bits: int) -> float:
        """Return the bytes of both operands in one digit."""
        return gemm.batch * (gemm.n + gemm.h) * gemm.d * bits / 8

    def cost(self, gemm: Shape, bits: int, ratios: tuple[float, float]) -> float:
        """Return the bytes of the digits; those of an operand grow by its own ratio."""
        a, b = ratios
        return gemm.batch * (gemm.n * a + gemm.h * b) * gemm.d * bits / 8


class Modelled(Price):
    """Cycles or energy of a described accelerator.

    Parameters
    ----------
    accelerator : str
        Its name or file.
    what : {"cycles", "energy"}
        Which of its predictions.
    backend : callable
        Returns the model for some width of digits.
    """

    def __init__(self, accelerator: str, what: str, backend: Callable[[int], GemmBackend]) -> None:
        self._accelerator, self._what, self._backend = accelerator, what, cache(backend)
        self.unit = "cycles" if what == "cycles" else "pJ"

    def dense(self, gemm: Shape, bits: int) -> float:
        """Return what the model predicts for the product."""
        found = self._backend(bits).cost(GemmSpec(bits, bits, gemm.n, gemm.d, gemm.h))
        value = (
            None if found is None else found.cycles if self._what == "cycles" else found.energy_pj
        )
        if value is None:
            raise InputError(f"{self._accelerator}: models no {self._what}")
        return gemm.batch * float(value)


class Time(Price):
    """Seconds of a backend's product on this machine, measured once for each shape.

    Parameters
    ----------
    name : str
        Of the backend.
    """

    unit = "s"

    def __init__(self, name: str) -> None:
        self._backend = load_backend(name)
        availability = self._backend.status()
        if not availability.available:
            raise InputError(f"backend {name!r} cannot run here: {availability.reason}")
        self._known: dict[tuple[int, ...], float] = {}

    def dense(self, gemm: Shape, bits: int) -> float:
        """Return the least of some times of the product."""
        key = gemm.n, gemm.d, gemm.h, bits
        if key not in self._known:
            self._known[key] = self._measured(*key)
        return gemm.batch * self._known[key]

    def _measured(self, n: int, d: int, h: int, bits: int) -> float:
        half, backend = 1 << (bits - 1), self._backend.for_bits(bits, bits)
        a, b = (
            torch.randint(
                -half, half, (rows, d), dtype=torch.int8 if bits <= 8 else torch.int16, device="cpu"
            )
            for rows in (n, h)
        )
        ready = backend.prepared(a), backend.prepared(b)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            backend.multiply(*ready)
            times.append(time.perf_counter() - start)
        return min(times)


def price_of(what: str, accelerator: str, backend: str | None) -> Price:
    """Return the price that a command asks for.

    Parameters
    ----------
    what : str
        ``macs``, ``cycles``, ``energy``, ``time`` or ``bytes``.
    accelerator : str
        For cycles and energy: the name or file of a description.
    backend : str or None
        For time: what multiplies.

    Raises
    ------
    InputError
        If there is no such accelerator, or the backend is missing or does not run here.
    """
    if what == "macs":
        return Macs()
    if what == "bytes":
        return Bytes()
    if what == "time":
        if backend is None:
            raise InputError("--cost time: name what is timed by --backend")
        return Time(backend)
    return Modelled(accelerator, what, lambda bits: accelerator_backend(accelerator, bits))


def accelerator_backend(accelerator: str, bits: int) -> GemmBackend:
    """Return the model of a described accelerator, for digits of b bits.

    Parameters
    ----------
    accelerator : str
        Its name or file.
    bits : int
        Width of the digits.

    Raises
    ------
    InputError
        If there is no such accelerator.
    """
    return load_backend(MODEL, **accelerator_options(accelerator, Path())).for_bits(bits, bits)
