"""How close integers come to floats as β grows: the error of one GEMM against r and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import check_type
from accelsim.measure.timing import Untimed
from accelsim.routes import open_route
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, Request, Rounding
from accelsim.unpack import DigitSystem
from gemm_backends import GemmBackend
from workloads.gemm import Gemm

TF32_BITS = 13
"""Bits of a float32's significand that tf32 does not have."""


@dataclass(frozen=True)
class Rung:
    """One way to compute a GEMM.

    Parameters
    ----------
    way : str
        ``integers``, or the name of a float format.
    beta : float or None
        Of integers.
    error : float
        The Frobenius norm of the error, relative to the product in float64.
    ratio : float or None
        The unpack ratio of integers.
    seconds : float or None
        The median of some times of the product with B prepared; None for what is emulated.
    """

    way: str
    beta: float | None
    error: float
    ratio: float | None
    seconds: float | None


@dataclass(frozen=True)
class Ladder:
    """The settings of a ladder.

    Parameters
    ----------
    betas : tuple of float
        In the order of the rungs.
    percentile, granularity
        Of the rounding of both operands.
    unpacking : Unpacking
        Digits and strategy.
    backend : GemmBackend
        What multiplies digits.
    repeats : int
        Times of each rung.
    """

    betas: tuple[float, ...]
    percentile: float
    granularity: str
    unpacking: Unpacking
    backend: GemmBackend
    repeats: int

    def rungs(self, gemm: Gemm) -> Iterator[Rung]:
        """Compute a GEMM in integers at each β, and in float formats.

        Parameters
        ----------
        gemm : Gemm
            With its operands.

        Raises
        ------
        DataError
            If an operand cannot be rounded.
        UnsupportedError
            If the backend refuses a product.
        """
        operands = gemm.load()
        for side, x in zip("ab", operands, strict=True):
            check_type(x, gemm.where(side))
        a, b = (x.float().reshape(-1, *x.shape[-2:]) for x in operands)
        exact = a.double() @ b.double().mT
        for beta in self.betas:
            yield self._integers(a, b, exact, beta)
        for name, (product, timed) in FLOATS.items():
            result, seconds = _timed(partial(product, a, b), self.repeats)
            yield Rung(name, None, _error(result, exact), None, seconds if timed else None)

    def _integers(self, a: Tensor, b: Tensor, exact: Tensor, beta: float) -> Rung:
        rounding = Rounding(self.percentile, beta, self.granularity, "nonzero")
        request = Request(
            shape=(a.shape[0], a.shape[1], a.shape[2], b.shape[1]),
            device=a.device,
            dtype=torch.float32,
            rounding=PerOperand.both(rounding),
            digits=self.unpacking.bits.map(lambda bits: DigitSystem(self.unpacking.digits, bits)),
            fixed=frozenset({"b"}),
            output=torch.float32,
            block=self.unpacking.block,
        )
        bits = self.unpacking.bits
        backend = self.backend.for_bits(bits.a, bits.b)
        route = open_route(request, self.unpacking.strategy, backend)
        ready = route.prepare("b", b)

        def run() -> Tensor:
            result = route.run(a, ready, Untimed())
            assert isinstance(result, Tensor), "a route with an output type gives a tensor"
            return result

        result, seconds = _timed(run, self.repeats)
        route.check()
        counts = route.counts()
        ratio = counts.low_bit_macs / counts.dense_macs if counts.dense_macs else 1.0
        error = _error(result.reshape(exact.shape), exact)
        return Rung("integers", beta, error, ratio, seconds)


def tf32(x: Tensor) -> Tensor:
    """Return float32 values with the 11 significant bits of tf32, rounded to nearest even.

    Parameters
    ----------
    x : Tensor
        float32, finite.
    """
    bits = x.contiguous().view(torch.int32)
    even = (bits >> TF32_BITS) & 1
    rounded = bits + (1 << (TF32_BITS - 1)) - 1 + even
    return (rounded & -(1 << TF32_BITS)).view(torch.float32)


FLOATS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "fp32": (lambda a, b: a @ b.mT, True),
    "tf32, emulated": (lambda a, b: tf32(a) @ tf32(b).mT, False),
    "bf16": (lambda a, b: a.bfloat16() @ b.bfloat16().mT, True),
}
"""Float formats: the product, and whether its time is that of the format. tf32 rounds its operands
and is multiplied in float32; bf16 rounds its result, too."""


def _error(result: Tensor, exact: Tensor) -> float:
    away = torch.linalg.vector_norm(result.double() - exact)
    return float(away / torch.linalg.vector_norm(exact))


def _timed(work: Callable[[], Tensor], repeats: int) -> tuple[Tensor, float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, median(times)


def middle(rungs: Sequence[Rung]) -> Rung:
    """Return the medians of the same rung of several GEMMs.

    Parameters
    ----------
    rungs : sequence of Rung
        Of one way and one β.
    """
    first = rungs[0]
    ratios = [rung.ratio for rung in rungs if rung.ratio is not None]
    seconds = [rung.seconds for rung in rungs if rung.seconds is not None]
    return Rung(
        first.way,
        first.beta,
        median(rung.error for rung in rungs),
        median(ratios) if ratios else None,
        median(seconds) if seconds else None,
    )
