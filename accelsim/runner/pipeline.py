"""One case's way from float operands to the integer product."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.bounds import fits_int64
from accelsim.arithmetic.rounding import Quantized, quantize
from accelsim.config import RunConfig
from accelsim.measure.timing import StageTimer
from accelsim.routes.execute import PreparedAhead, execute, executed_macs, schedule
from accelsim.runner.cases import Case
from accelsim.runner.cost import modelled
from accelsim.unpack import (
    DigitSystem,
    IntegerOperand,
    LowBitProblem,
    Product,
)


class Pipeline:
    """Quantize, unpack, multiply and pack, one repeat at a time.

    Parameters
    ----------
    case : Case
        What is run.
    operands : tuple of Tensor
        A and B as floats, on the backend's device.
    config : RunConfig
        The settings that all cases share.

    Attributes
    ----------
    quantized : tuple of Quantized
        A and B of the last repeat.
    problem, scheduled : LowBitProblem
        What the strategy made of them, and the same with K cut where an accumulator needs it.
    result : Tensor or ndarray of object
        The product of the last repeat, ``[batch, n, h]``.
    overflows : int
        Steps of the last repeat at which the backend reported an overflow.
    """

    quantized: tuple[Quantized, Quantized]
    problem: LowBitProblem
    scheduled: LowBitProblem
    result: Any
    overflows: int

    def __init__(self, case: Case, operands: tuple[Tensor, Tensor], config: RunConfig) -> None:
        self._case, self._operands, self._config = case, operands, config
        self.systems = case.unpack.bits.map(lambda bits: DigitSystem(case.unpack.digits, bits))
        self._strategy = config.strategy(case.unpack.strategy, case.unpack.block)
        self._ahead: dict[str, tuple[Quantized, IntegerOperand]] = {}
        self._prepare = PreparedAhead(case.backend, ())
        if config.timing.prepared:
            self._prepare_ahead()

    def _prepare_ahead(self) -> None:
        """Do what does not depend on the other operand before any repeat: outside the total."""
        self._ahead = {side: self._integers(side) for side in self._config.timing.prepared}
        both = [(self._ahead.get(side) or self._integers(side))[1] for side in "ab"]
        problem = self._strategy.unpack(*both)
        # Before the backend sees any digits: it may refuse them.
        schedule(problem, self._case.backend, self.systems, self._config.k_split)
        kept = [digits for _, operand in self._ahead.values() for digits in operand.kept]
        self._prepare = PreparedAhead(self._case.backend, kept)

    def repeat(self, timer: StageTimer) -> None:
        """Run all stages once."""
        with timer.stage("quantize"):
            pairs = [self._ahead.get(side) or self._integers(side) for side in "ab"]
        (qa, a), (qb, b) = pairs
        self.quantized = qa, qb
        with timer.stage("unpack"):
            self.problem = self._strategy.unpack(a, b)
            self.scheduled = schedule(
                self.problem, self._case.backend, self.systems, self._config.k_split
            )
        done = execute(
            self.scheduled,
            self._case.backend,
            timer,
            watch_overflow=self._config.k_split == "never",
            wide=not fits_int64(self._operands[0].shape[-1], qa.largest, qb.largest),
            prepare=self._prepare,
        )
        self.result, self.overflows = done.result, done.overflows

    def quantize(self) -> tuple[Quantized, Quantized]:
        """Quantize both operands and do nothing else."""
        return self._integers("a")[0], self._integers("b")[0]

    def _integers(self, side: str) -> tuple[Quantized, IntegerOperand]:
        """Quantize one operand."""
        rounding = getattr(self._case.quantize, side)
        names = self._case.gemm.tensor_names
        quantized = quantize(
            self._operands["ab".index(side)],
            rounding.percentile,
            rounding.beta,
            rounding.granularity,
            rounding.zero_alpha,
            f"{self._case.gemm.workload}: tensor {getattr(names, side)!r}",
        )
        prepared = side in self._config.timing.prepared
        return quantized, IntegerOperand(quantized, getattr(self.systems, side), prepared)

    def relative_error(self) -> float | None:
        """Return the Frobenius error of the dequantized product against float64's, if not 0."""
        result = self.result
        if not isinstance(result, Tensor):
            result = torch.from_numpy(result.astype(np.float64)).to(self._operands[0].device)
        a, b = (x.to(torch.float64) for x in self._operands)
        exact = a @ b.mT
        qa, qb = self.quantized
        scale = qa.scale.to(torch.float64)
        scale_b = qb.scale.to(torch.float64)
        product = result.reshape(exact.shape).to(torch.float64)
        product = product / scale / (scale_b if scale_b.ndim == 0 else scale_b.mT)
        norm = float(torch.linalg.vector_norm(exact))
        return float(torch.linalg.vector_norm(product - exact)) / norm if norm else None

    def counts(self) -> dict[str, Any]:
        """Return the operation counts of a record."""
        problem, scheduled, backend = self.problem, self.scheduled, self._case.backend
        return {
            "strategy_chosen": problem.strategy_chosen,
            "ratio": problem.ratio,
            "dense_macs": problem.dense_macs,
            "low_bit_macs": scheduled.low_bit_macs,
            "correction_macs": scheduled.correction_macs,
            "sparse_macs": scheduled.sparse_macs,
            "executed_macs": executed_macs(scheduled, backend, self.systems),
            "shift_adds": scheduled.shift_adds,
            "gather_bytes": scheduled.gather_bytes,
            "scatter_bytes": scheduled.scatter_bytes,
            "products": len(scheduled.products),
            "gemm_bytes": sum(map(_bytes, scheduled.products)),
            "max_digits_a": problem.max_digits_a,
            "max_digits_b": problem.max_digits_b,
            "out_of_bound_a": problem.out_of_bound_a,
            "out_of_bound_b": problem.out_of_bound_b,
            **modelled(backend, self.systems, scheduled, self._operands[0].element_size()),
        }


def _bytes(product: Product) -> int:
    """Return the digits read and the 32-bit sums written, each once, in bytes."""
    return product.a.nbytes + product.b.nbytes + 4 * product.a.shape[0] * product.b.shape[0]
