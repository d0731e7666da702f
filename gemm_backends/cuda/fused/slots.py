"""Columns of K that have a column of high digits in all rows.

They are chosen on the GPU in every run; where a prepared operand meets one with a scale for each
row, they are those of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from accelsim.kernels.launches import Launch
from accelsim.types import PerOperand
from gemm_backends.cuda.fused.arguments import AssignSlots
from gemm_backends.cuda.fused.operand import HIGH_PARTS, ColumnDigits
from gemm_backends.cuda.fused.plan import TILE, Columns
from gemm_backends.cuda.fused.sides import Source

SURVEYED_ROWS = 128
SHARE_OF_SAMPLE = 8
"""A column with high parts in one surveyed row of this many gets its slot ahead."""

NEVER = 2**31 - 1


def fixed_slots(
    columns: Sequence[int], d: int, copied: PerOperand[Tensor | None], device: torch.device
) -> Tensor | None:
    """Return the slot of every column of K, or -1, for given columns: ``[d]`` int32, or None.

    Parameters
    ----------
    columns : sequence of int
        The column of each slot.
    d : int
        Columns of K.
    copied : PerOperand of (Tensor or None)
        Destination of the columns that each operand copies for the slots.
    device : torch.device
        A CUDA device.
    """
    if not columns:
        return None
    slots = torch.arange(len(columns), dtype=torch.int32, device=device)
    chosen = torch.tensor(columns, dtype=torch.int32, device=device)
    for sources in (copied.a, copied.b):
        if sources is not None:
            sources.fill_(-1)
            sources[: len(columns)] = chosen
    of = torch.full((d,), -1, dtype=torch.int32, device=device)
    of[chosen.long()] = slots
    return of


class Slots:
    """The slot of every column of K, or -1.

    Parameters
    ----------
    plan : Columns
        With `slot_tiles`.
    digits : PerOperand of ColumnDigits
        The digits of the slots.
    copied : PerOperand of (Tensor or None)
        Destination of the columns that each operand copies for the slots.

    Attributes
    ----------
    of : Tensor
        ``[d]`` int32.
    """

    def __init__(
        self,
        plan: Columns,
        digits: PerOperand[ColumnDigits],
        copied: PerOperand[Tensor | None],
    ) -> None:
        self._plan, self._digits, self._copied = plan, digits, copied
        d, device = digits.a.d, digits.a.matrix.device
        self.of = torch.empty(d, dtype=torch.int32, device=device)
        self._sampled = torch.empty((2, d), dtype=torch.int32, device=device)
        self._taken = torch.empty((), dtype=torch.int32, device=device)

    def survey(self, new: PerOperand[Source | None], flags: Tensor) -> list[Launch]:
        """Return what gives slots to columns heavy throughout, from a few rows of each operand.

        Parameters
        ----------
        new : PerOperand of (Source or None)
            Those that are about to be split. The others' high parts have been counted.
        flags : Tensor
            int32 scalar that collects what does not fit.
        """
        counts = [self._digits.a.column_counts, self._digits.b.column_counts]
        thresholds = [self._plan.a.threshold, self._plan.b.threshold]
        launches = []
        for index, (digits, source) in enumerate(
            ((self._digits.a, new.a), (self._digits.b, new.b))
        ):
            if source is not None:
                step = max(1, digits.rows // SURVEYED_ROWS)
                launches.append(digits.sample(source, step, self._sampled[index]))
                counts[index] = self._sampled[index]
                thresholds[index] = max(1, -(-digits.rows // step) // SHARE_OF_SAMPLE)
        return [*launches, self._assign(counts, thresholds, NEVER, True, flags)]

    def assign(self, flags: Tensor) -> Launch:
        """Return what gives slots to all heavy columns without one, by the counts of high parts."""
        plan = self._plan
        return self._assign(
            [self._digits.a.column_counts, self._digits.b.column_counts],
            [plan.a.threshold, plan.b.threshold],
            plan.threshold_product,
            not plan.surveyed,
            flags,
        )

    def _assign(
        self,
        counts: Sequence[Tensor | None],
        thresholds: Sequence[int],
        threshold_product: int,
        first: bool,
        flags: Tensor,
    ) -> Launch:
        (counts_a, counts_b), (threshold_a, threshold_b) = counts, thresholds
        arguments = AssignSlots(
            counts_a=counts_a,
            counts_b=counts_b,
            d=self._digits.a.d,
            threshold_a=threshold_a,
            threshold_b=threshold_b,
            threshold_product=threshold_product,
            room=self._plan.slot_tiles * TILE,
            first=first,
            slots=self.of,
            taken=self._taken,
            sources_a=self._copied.a,
            sources_b=self._copied.b,
            flags=flags,
        )
        return Launch(HIGH_PARTS, "accelsim_assign_slots", self.of.device, arguments)
