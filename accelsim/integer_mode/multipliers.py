"""Two ways to the exact integer product: through floats that are proved exact, and a backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.bounds import fits_int64
from accelsim.arithmetic.oracle import Wide, compare, oracle
from accelsim.arithmetic.precision import float32_is_ieee
from accelsim.errors import InputError
from accelsim.integer_mode.rounded import Rounded
from accelsim.measure.timing import StageTimer
from accelsim.routes.execute import UnsupportedError, execute, schedule
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, Strategy
from gemm_backends import GemmBackend
from gemm_backends.operands import Prepared

FLOAT32_EXACT = 2.0**24
FLOAT64_EXACT = 2.0**53

FEW = 0.25
"""Share of the rows up to which those beyond float32 are multiplied again, in float64."""


class Multiplier(Protocol):
    """Multiplies two rounded operands into exact integers."""

    def __call__(self, a: Rounded, b: Rounded) -> tuple[Tensor, dict[str, int]]:
        """Return ``A @ B.T`` in int64, float64 or float32, and counts for the tally."""


class Simulated:
    """Multiplies integer values in floating point, in a type that is proved to be exact.

    Notes
    -----
    Every partial sum of a row of A times a row of B is at most the product of their norms (Cauchy
    and Schwarz), in whatever order it is summed. Below 2^24 float32 holds it exactly, below 2^53
    float64; beyond, the product is made of exact halves.
    """

    def __call__(self, a: Rounded, b: Rounded) -> tuple[Tensor, dict[str, int]]:
        """Return the integers in the shortest type that is exact for all of them."""
        if a.integers.numel() == 0 or b.integers.numel() == 0:
            return a.integers @ b.integers.mT, {}
        bound_a, bound_b = a.norms, b.norms
        if float(bound_a.max()) * float(bound_b.max()) >= FLOAT64_EXACT:
            exact = oracle(a.quantized.values, b.quantized.values)
            return _as_tensor(exact, a.integers.device), {}
        if not float32_is_ieee(a.integers.device):
            return a.integers.double() @ b.integers.double().mT, {}
        beyond_a = bound_a * float(bound_b.max()) >= FLOAT32_EXACT
        if not bool(beyond_a.any()):
            return a.integers @ b.integers.mT, {}
        beyond_b = bound_b * float(bound_a.max()) >= FLOAT32_EXACT
        if float(beyond_a.double().mean()) <= FEW:
            return _in_parts(a.integers, b.integers, beyond_a), {}
        if float(beyond_b.double().mean()) <= FEW:
            return _in_parts(b.integers, a.integers, beyond_b).mT, {}
        return a.integers.double() @ b.integers.double().mT, {}


def _in_parts(a: Tensor, b: Tensor, beyond: Tensor) -> Tensor:
    """Multiply in float32, and once more in float64 the rows of A that are `beyond` it."""
    result = (a @ b.mT).double()
    if a.ndim == 2:
        result[beyond] = a[beyond].double() @ b.double().mT
        return result
    for head in beyond.any(dim=-1).nonzero().flatten().tolist():
        rows = beyond[head]
        result[head, rows] = a[head, rows].double() @ b[head].double().mT
    return result


@dataclass(frozen=True)
class Unpacked:
    """Multiplies low-bit products on a backend.

    Parameters
    ----------
    backend : GemmBackend
        What multiplies.
    systems : PerOperand of DigitSystem
        The digits of A and B.
    strategy : Strategy
        How the operands are unpacked.
    check : bool
        Compare every integer with the oracle, and watch the backend's accumulator.
    """

    backend: GemmBackend
    systems: PerOperand[DigitSystem]
    strategy: Strategy
    check: bool = False

    def __call__(self, a: Rounded, b: Rounded) -> tuple[Tensor, dict[str, int]]:
        """Return the product in int64, and the counts of its low-bit products.

        Raises
        ------
        InputError
            If the backend refuses a product.
        """
        operands = a.digits(self.systems.a), b.digits(self.systems.b)
        problem = self.strategy.unpack(*operands)
        try:
            scheduled = schedule(problem, self.backend, self.systems, "auto")
        except UnsupportedError as error:
            raise InputError(f"backend {self.backend.name!r}: {error}") from error
        ready_a = a.prepared(self.systems.a, self.backend)
        ready_b = b.prepared(self.systems.b, self.backend)

        def prepare(digits: Tensor) -> Prepared:
            known = ready_a.get(digits)
            return ready_b(digits) if known is None else known

        depth = operands[0].shape[2]
        timer = StageTimer(a.quantized.operand.device)
        with timer.repeat():
            done = execute(
                scheduled,
                self.backend,
                timer,
                watch_overflow=self.check,
                wide=not fits_int64(depth, a.quantized.largest, b.quantized.largest),
                prepare=prepare,
            )
        counts = {
            "unpacked": 1,
            "unpacked_macs": problem.dense_macs,
            "low_bit_macs": scheduled.low_bit_macs,
            "entries": a.quantized.operand.numel() + b.quantized.operand.numel(),
            "out_of_bound": problem.out_of_bound_a + problem.out_of_bound_b,
            "overflows": done.overflows,
        }
        if self.check:
            expected = oracle(operands[0].heads, operands[1].heads)
            counts |= {"checked": 1, "inexact": int(not compare(done.result, expected).exact)}
        shape = (*a.quantized.operand.shape[:-1], b.quantized.operand.shape[-2])
        return _as_tensor(done.result, a.quantized.operand.device).reshape(shape), counts


def _as_tensor(product: Tensor | Wide, device: torch.device) -> Tensor:
    """Return the product; integers beyond int64 are rounded to float64, as dequantizing does."""
    if isinstance(product, Tensor):
        return product
    return torch.from_numpy(product.astype(np.float64)).to(device)
