"""The way with planes: the same number of digits for every entry.

Nothing is listed, so that only the digits and the width of sums can be insufficient. Sums of 32
bits take one GEMM, whose accumulators are shifted between the weights of the digits. Where 32 bits
are not proved to be enough, there is a GEMM for each weight, with K cut where its sums could
overflow, and their sum has 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from accelsim.kernels.launches import Launch, at_once, cleared, launch_now
from accelsim.types import SIDES, PerOperand, Side
from gemm_backends.cuda.cutlass_library import DigitGroups, TileRun
from gemm_backends.cuda.fused.arguments import Accumulate
from gemm_backends.cuda.fused.layout import (
    DIGIT_BITS,
    Layout,
    plane_groups,
    plane_segments,
    slices,
)
from gemm_backends.cuda.fused.operand import Digits
from gemm_backends.cuda.fused.plan import PLANES_BEHIND, TILE, Dense
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.rows import MOST_PLANES
from gemm_backends.cuda.fused.sides import Source
from gemm_backends.cuda.fused.status import Report, Status
from gemm_backends.cuda.fused.way import PACK, Incoming, Shape, Way, Work

WEIGHTS = 8
"""Weights of 8-bit digits that 64-bit sums hold; products of others are multiples of 2^64."""


class DenseWay(Way):
    """Runs of one shape by a plan with planes.

    Parameters
    ----------
    plan : Dense
        Digits of new operands; prepared ones have their own.
    shape : tuple of int
        batch, n, d, h.
    sides : PerOperand of Incoming
        Operands like those to come; prepared ones are those to come.
    status : Status
        Where the device concludes whether a run is exact.
    device : torch.device
        A CUDA device.
    """

    def __init__(
        self,
        plan: Dense,
        shape: Shape,
        sides: PerOperand[Incoming],
        status: Status,
        device: torch.device,
    ) -> None:
        super().__init__(shape, status, 0, device, plan.wide)
        batch, n, d, h = shape
        self.plan = plan
        self._count = _count(sides.a, plan.a), _count(sides.b, plan.b)
        self._second_planes: list[Launch] = []
        self._behind = tuple(
            count if isinstance(x, FusedOperand) else max(count, PLANES_BEHIND)
            for x, count in zip((sides.a, sides.b), self._count, strict=True)
        )
        self.digits = PerOperand(
            self._digits(sides.a, batch, n, d, self._behind[0]),
            self._digits(sides.b, batch, h, d, self._behind[1]),
        )

    def unpack(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return what writes the planes, and the conclusion."""
        launches = []
        self._second_planes = []
        for side, count in zip(SIDES, self._count, strict=True):
            source, digits, found = new.of(side), self.digits.of(side), self.found.of(side)
            nonfinite = self.nonfinite(side)
            if source is None or nonfinite is None:
                continue
            if count < PLANES_BEHIND:
                second = digits.write_planes(source, 1, None, first=1, gate=self.status.gate)
                self._second_planes.append(second)
            if self.in_one_pass(side):
                rows = self.row_pass(side)
                launches.append(rows.planes(source, digits, count, found, nonfinite))
            else:
                launches.append(digits.write_planes(source, count, found))
        behind = (self._behind[0], self._behind[1]) if self._has_gate(capturing) else (0, 0)
        return [*launches, self.conclude(self._count, behind, capturing)]

    def in_one_pass(self, side: Side) -> bool:
        """Whether one pass over the rows of an operand finds their scales and writes the digits."""
        count = self._count[SIDES.index(side)]
        return count <= MOST_PLANES and super().in_one_pass(side)

    def multiply(self, out: Tensor, capturing: bool) -> list[Launch]:
        """Return the products, and inside a CUDA graph the one behind the gate."""
        if self.wide:
            return self._accumulate(out)
        product = self._multiply(self._count, out)
        if not self._has_gate(capturing):
            return [product]
        # The planes behind the gate are not in the way of the product that is made at any rate.
        behind = self._multiply((self._behind[0], self._behind[1]), out, self.status.gate)
        return [*at_once(self._second_planes, [product], self.events), behind]

    def remultiply(self, report: Report, sums: Tensor) -> list[Launch]:
        """Return the products of the last run once more, into sums."""
        return self._accumulate(sums) if self.wide else [self._multiply(self._used(report), sums)]

    def settle(self) -> None:
        """Nothing is kept from run to run."""

    def digits_of(self, side: Side) -> Digits:
        """Return the digits of an operand."""
        return self.digits.of(side)

    def work(self, report: Report) -> Work:
        """Return the operation counts of the last run's products."""
        batch, n, d, h = self.shape
        low = self.digits.a.layout.low
        if not self.wide:
            count = self._used(report)
            pairs, products = len(self._groups(count).segments), 1
        else:
            weights = [self._segments(weight) for weight in range(WEIGHTS)]
            pairs = sum(map(len, weights))
            products = sum(len(self._slices(weight)) for weight in range(WEIGHTS))
        return Work(pairs * low, batch * n * h * d * pairs, products)

    def by_weight(self) -> Iterator[tuple[int, Tensor]]:
        """Multiply once more, and yield each weight's exponent and its sums, in int64."""
        batch, n, _, h = self.shape
        sums = torch.empty((batch, n, self.digits.b.stored), dtype=torch.int32, device=self._device)
        for weight in range(sum(self._count) - 1):
            total = torch.zeros(sums.shape, dtype=torch.int64, device=self._device)
            for groups in self._slices(weight):
                product = self.gemm(self.digits.a, self.digits.b, groups, sums)
                launch_now([product], self._device)
                total += sums
            yield DIGIT_BITS * weight, total[..., :h]

    def _used(self, report: Report) -> tuple[int, int]:
        """Return how many planes of A and of B the last run multiplied."""
        return (self._behind[0], self._behind[1]) if report.gate else self._count

    def _has_gate(self, capturing: bool) -> bool:
        return capturing and not self.wide and self._count != self._behind

    def _digits(self, x: Incoming, batch: int, rows: int, d: int, planes: int) -> Digits:
        if isinstance(x, FusedOperand):
            return x.digits
        return Digits(batch, rows, d, Layout(-(-d // TILE), planes), self._device)

    def _multiply(self, count: tuple[int, int], out: Tensor, gate: Tensor | None = None) -> Launch:
        return self.gemm(self.digits.a, self.digits.b, self._groups(count), out, gate)

    def _groups(self, count: tuple[int, int]) -> DigitGroups:
        """Return the groups of K for a number of planes."""
        return plane_groups(self.digits.a.layout, self.digits.b.layout, count)

    def _slices(self, weight: int) -> list[DigitGroups]:
        """Return the products of one weight whose sums fit 32 bits."""
        return list(slices(self._segments(weight)))

    def _segments(self, weight: int) -> list[TileRun]:
        return plane_segments(self.digits.a.layout, self.digits.b.layout, self._count, weight)

    def _accumulate(self, totals: Tensor) -> list[Launch]:
        launches = [cleared(totals)]
        sums = torch.empty(totals.shape, dtype=torch.int32, device=totals.device)
        for weight in range(WEIGHTS):
            for groups in self._slices(weight):
                arguments = Accumulate(
                    sums=sums, count=sums.numel(), shift=DIGIT_BITS * weight, totals=totals
                )
                addition = Launch(PACK, "accelsim_accumulate", totals.device, arguments)
                launches += [self.gemm(self.digits.a, self.digits.b, groups, sums), addition]
        return launches


def _count(x: Incoming, planned: int) -> int:
    return x.count if isinstance(x, FusedOperand) else planned
