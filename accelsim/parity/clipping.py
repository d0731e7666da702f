"""Clipping at a percentile, which integers are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from accelsim.arithmetic.rounding import alpha
from accelsim.integer_mode.replacing import ALL, Replacing, Selection
from workloads.tracing import GemmCall


class ClippedGemms(Replacing):
    """Clips both operands of every chosen GEMM at their α_p; nothing is rounded.

    Parameters
    ----------
    model : nn.Module
        Any model.
    percentile : float
        p: entries beyond the p-th percentile of the magnitudes become that large.
    selection : Selection
        Which GEMMs.
    """

    def __init__(self, model: nn.Module, percentile: float, selection: Selection = ALL) -> None:
        super().__init__(model, selection)
        self._percentile = percentile

    def product(self, call: GemmCall) -> Tensor:
        """Return the product of the clipped operands."""
        a, b = (self._clipped(operand) for operand in (call.a, call.b))
        return a @ b.mT

    def _clipped(self, operand: Tensor) -> Tensor:
        if operand.numel() == 0:
            return operand
        values = operand.to(torch.float32).contiguous().reshape(1, -1)
        limit = float(alpha(values, self._percentile))
        return operand.clamp(-limit, limit)
