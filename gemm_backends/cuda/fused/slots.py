"""Which columns of K have a column of high digits in all rows, decided on the GPU in every run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gemm_backends.cuda.fused.operand import HIGH_PARTS, Operand
from gemm_backends.cuda.fused.plan import TILE, Plan

SURVEYED_ROWS = 128
SHARE_OF_SAMPLE = 8
"""A column with high parts in one surveyed row of this many gets its slot ahead."""

NEVER = 2**31 - 1


class Slots:
    """The slot of every column of K, or -1.

    Parameters
    ----------
    plan : Plan
        With `slot_tiles`.
    a, b : Operand
        What the slots are for.
    flags : Tensor
        int32 scalar that collects what does not fit.

    Attributes
    ----------
    of : Tensor
        ``[d]`` int32.
    """

    def __init__(self, plan: Plan, a: Operand, b: Operand, flags: Tensor) -> None:
        self._plan, self._a, self._b, self._flags = plan, a, b, flags
        self.of = torch.zeros(a.d, dtype=torch.int32, device=flags.device)
        self._sampled = torch.zeros((2, a.d), dtype=torch.int32, device=flags.device)
        self._taken = torch.zeros((), dtype=torch.int32, device=flags.device)

    def survey(self, dynamic: Sequence[tuple[Operand, Tensor]]) -> None:
        """Give slots to columns that are heavy throughout, from a few rows of each operand.

        Parameters
        ----------
        dynamic : sequence of (Operand, Tensor)
            Those that are about to be split. The others' high parts have been counted.
        """
        counts = [self._a.column_counts, self._b.column_counts]
        thresholds = [self._plan.a.threshold, self._plan.b.threshold]
        for side, (operand, x) in enumerate(dynamic):
            step = max(1, operand.rows // SURVEYED_ROWS)
            operand.sample(x, step, self._sampled[side])
            counts[side] = self._sampled[side]
            thresholds[side] = max(1, -(-operand.rows // step) // SHARE_OF_SAMPLE)
        self._assign(counts, thresholds, NEVER, first=True)

    def assign(self) -> None:
        """Give slots to all heavy columns that have none, once high parts have been counted."""
        plan = self._plan
        self._assign(
            [self._a.column_counts, self._b.column_counts],
            [plan.a.threshold, plan.b.threshold],
            plan.threshold_product,
            first=not plan.surveyed,
        )

    def _assign(
        self,
        counts: Sequence[Tensor | None],
        thresholds: Sequence[int],
        threshold_product: int,
        first: bool,
    ) -> None:
        a, b = self._a, self._b
        HIGH_PARTS.launch(
            "accelsim_assign_slots",
            self.of.device,
            *counts,
            a.d,
            *thresholds,
            threshold_product,
            self._plan.slot_tiles * TILE,
            first,
            self.of,
            self._taken,
            a.sources if a.layout.copied_slots else None,
            b.sources if b.layout.copied_slots else None,
            self._flags,
        )
