"""One kind of operand of one place in integers, and everything else in floats."""

from __future__ import annotations

import glob
import math

from torch import Tensor, nn

from accelsim.arithmetic.rounding import quantize
from accelsim.integer_mode import Replacing, Selection
from accelsim.tuning.places import Place
from accelsim.types import PerOperand, Rounding, Side
from workloads.tracing import GemmCall


class RoundedAlone(Replacing):
    """Rounds the operands of one kind in the GEMMs of one place.

    Parameters
    ----------
    model : nn.Module
        Any model.
    place : Place
        Which GEMMs.
    kind : str
        Which of their operands.
    rounding : Rounding
        How.

    Attributes
    ----------
    operands : PerOperand of Tensor
        Those of the first GEMM with an operand of this kind, as floats.
    seen : bool
        Whether there was any.
    """

    operands: PerOperand[Tensor]

    def __init__(self, model: nn.Module, place: Place, kind: str, rounding: Rounding) -> None:
        super().__init__(model, Selection(gemms=(glob.escape(place.name),)))
        self._place, self._kind, self._rounding = place, kind, rounding
        self._error = self._whole = 0.0
        self.seen = False

    @property
    def local_error(self) -> float:
        """The Frobenius norm of the change of the products, relative to that of the products."""
        return math.sqrt(self._error / self._whole) if self._whole else 0.0

    def product(self, call: GemmCall) -> Tensor:
        """Return the product of the rounded operands, back in floating point."""
        exact = call.a @ call.b.mT
        if not self._place.gemm(call.phase).sides(self._kind):
            return exact
        if not self.seen:
            self.operands, self.seen = PerOperand(call.a, call.b), True
        rounded = self._rounded(call.a, "a", call) @ self._rounded(call.b, "b", call).mT
        self._error += float((rounded - exact).double().square().sum())
        self._whole += float(exact.double().square().sum())
        return rounded

    def _rounded(self, x: Tensor, side: Side, call: GemmCall) -> Tensor:
        kind = self._place.gemm(call.phase).kinds.of(side)
        if kind != self._kind:
            return x
        how, name = self._rounding, f"{call.name} ({kind})"
        found = quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha, name)
        integers = (found.operand * found.scale).round_()
        return ((integers / found.scale) * 2.0**-found.scale_exponent).to(x.dtype)
