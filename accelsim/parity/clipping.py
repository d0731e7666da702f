"""Clipping at a percentile, for comparison with integers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from accelsim.arithmetic.rounding import alpha, check_type
from accelsim.integer_mode.kinds import kinds
from accelsim.integer_mode.replacing import ALL, Replacing, Selection
from accelsim.settings import PerKind
from accelsim.types import PerOperand
from workloads.tracing import GemmCall


class ClippedGemms(Replacing):
    """Clips both operands of every chosen GEMM at their α_p; nothing is rounded.

    Parameters
    ----------
    model : nn.Module
        Any model.
    percentile : PerKind of float
        p of each kind of operand: entries beyond the p-th percentile of the magnitudes become that
        large.
    selection : Selection
        Which GEMMs.
    planned : sequence of str
        Globs that have to match a GEMM.
    """

    def __init__(
        self,
        model: nn.Module,
        percentile: PerKind[float],
        selection: Selection = ALL,
        planned: Sequence[str] = (),
    ) -> None:
        super().__init__(model, selection, planned)
        self._percentile = percentile

    def product(self, call: GemmCall) -> Tensor:
        """Return the product of the clipped operands."""
        weights = PerOperand(*(self._lineage.of(x).weight for x in (call.a, call.b)))
        kind = kinds(call, weights)
        for side, x in (("A", call.a), ("B", call.b)):
            check_type(x, f"{call.name} ({side})")
        return self._clipped(call.a, kind.a) @ self._clipped(call.b, kind.b).mT

    def _clipped(self, operand: Tensor, kind: str) -> Tensor:
        if operand.numel() == 0:
            return operand
        values = operand.to(torch.float32).contiguous().reshape(1, -1)
        limit = float(alpha(values, self._percentile.of(kind)))
        return operand.clamp(-limit, limit)
