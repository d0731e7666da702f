"""The way with columns of high digits: one dense int8 product carries all the work.

Entries that do not fit 8 bits have their high digits in columns of their own (`layout`): heavy
columns in the same ones in all rows, the others in ones that every block of rows uses for other
columns of K. The GEMM takes K from where it lies for the tile of C at hand, and weighs the digits
by shifting its accumulators. The few products of two high parts outside the slots are listed for
each tile of C.

All that the plan bounds is counted on the device. Inside a CUDA graph a product of two planes of
each operand stands behind a gate, for runs that met more.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelsim.errors import AccelsimError
from accelsim.kernels.launches import Launch, at_once, launch_now
from accelsim.types import SIDES, PerOperand, Side
from gemm_backends.cuda.fused.arguments import Correct
from gemm_backends.cuda.fused.layout import Layout, column_groups, layouts, plane_groups
from gemm_backends.cuda.fused.operand import ColumnDigits, Cross, Digits
from gemm_backends.cuda.fused.plan import PLANES_BEHIND, TILE, TILE_OF_C, Columns
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.sides import FLAG_WORDS, Floats, Source
from gemm_backends.cuda.fused.slots import Slots, fixed_slots
from gemm_backends.cuda.fused.status import Report, Status
from gemm_backends.cuda.fused.way import PACK, Incoming, Shape, Way, Work


class PlanDoesNotFitError(AccelsimError):
    """A prepared operand has no room in a plan."""


class ColumnsWay(Way):
    """Runs of one shape, without heads, by a plan with slots and places.

    Parameters
    ----------
    plan : Columns
        Sizes.
    shape : tuple of int
        1, n, d, h.
    sides : PerOperand of Incoming
        Operands like those to come; prepared ones are those to come.
    status : Status
        Where the device concludes whether a run is exact.
    device : torch.device
        A CUDA device.

    Raises
    ------
    PlanDoesNotFitError
        If a prepared operand does not fit the plan.
    """

    def __init__(
        self,
        plan: Columns,
        shape: Shape,
        sides: PerOperand[Incoming],
        status: Status,
        device: torch.device,
    ) -> None:
        _, n, d, h = shape
        self._planes = tuple(
            x.count if isinstance(x, FusedOperand) else PLANES_BEHIND for x in (sides.a, sides.b)
        )
        layout_a, layout_b = layouts(plan, n, d, h, (self._planes[0], self._planes[1]))
        chained = plan.cross_length > 0
        # Zeros: lists of products of high parts for each tile of C, how many each has, and what
        # new operands are split with.
        tiles = [-(-rows // size) for rows, size in zip((n, h), TILE_OF_C, strict=True)]
        count = tiles[0] * tiles[1]
        sizes = [
            2 * count * plan.cross_length,
            count,
            ColumnDigits.zero_words(n, d, layout_a, False) if isinstance(sides.a, Floats) else 0,
            ColumnDigits.zero_words(h, d, layout_b, chained) if isinstance(sides.b, Floats) else 0,
        ]
        super().__init__(shape, status, sum(sizes), device)
        listed, self._cross_counts, zeros_a, zeros_b = torch.split(self.own_zeros, sizes)
        self.plan, self._tiles_across = plan, tiles[1]
        self._layouts = PerOperand(layout_a, layout_b)
        self.digits = PerOperand(
            self._digits(sides.a, layout_a, n, False, zeros_a),
            self._digits(sides.b, layout_b, h, chained, zeros_b),
        )
        self._groups = column_groups(layout_a, layout_b)
        self._behind = plane_groups(layout_a, layout_b, (self._planes[0], self._planes[1]))
        if plan.cross_length:
            lists = listed.view(count, plan.cross_length, 2)
            self._groups = replace(self._groups, corrections=lists)

        def sources(tiles: int) -> Tensor:
            return torch.empty(max(4, tiles * TILE), dtype=torch.int32, device=device)

        self._copied = PerOperand(sources(layout_a.copied_tiles), sources(layout_b.copied_tiles))
        copied = PerOperand(
            self._copied.a[: layout_a.copied_slots * TILE] if layout_a.copied_slots else None,
            self._copied.b[: layout_b.copied_slots * TILE] if layout_b.copied_slots else None,
        )
        self._slots = None
        if plan.slots is not None:
            self._slot_of = fixed_slots(plan.slots, d, copied, device)
            self._sources = self._lay_out()
        elif plan.slot_tiles:
            self._slots = Slots(plan, self.digits, copied)
        # High digits of a prepared operand are unchanged if no slots change.
        self._fixed = PerOperand(
            self._slots is None and isinstance(sides.a, FusedOperand),
            self._slots is None and isinstance(sides.b, FusedOperand),
        )
        self._settled = False

    def unpack(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return what writes the digits, and the conclusion."""
        if self.plan.slots is not None:
            return self._unpack_rows(new, capturing)
        a, b = self.digits.a, self.digits.b
        slots = self._slots
        launches = slots.survey(new, self.flags) if slots and self.plan.surveyed else []
        of = slots.of if slots else None
        for side in SIDES:
            source, digits, found = new.of(side), self.digits.of(side), self.found.of(side)
            nonfinite = self.nonfinite(side)
            if source is None or nonfinite is None:
                continue
            if self.in_one_pass(side):
                rows = self.row_pass(side)
                launches.append(
                    rows.columns(source, digits, None, None, found, nonfinite, self.flags)
                )
            else:
                launches += digits.split(source, of, found, self.flags)
        if slots:
            launches.append(slots.assign(self.flags))
        if not (self._fixed.b and self._settled):
            launches += self._high_digits_of_b(of)
        beside = [*self._high_digits_of_a(of), *self._concluded(new, capturing)]
        # A's copies wait for nothing that is still to be done for A: they are made beside it.
        meanwhile = a.gather(self._copied.a, self._layouts.a.copied_tiles)
        copies_of_b = b.gather(self._copied.b, self._layouts.b.copied_tiles)
        return [*launches, *at_once(beside, meanwhile, self.events), *copies_of_b]

    def in_one_pass(self, side: Side) -> bool:
        """Whether one pass over the rows of an operand finds their scales and writes the digits."""
        return not self.plan.surveyed and super().in_one_pass(side)

    def _unpack_rows(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return what writes the digits of A, where B's never change."""
        a, b, nonfinite = self.digits.a, self.digits.b, self.nonfinite("a")
        assert new.a is not None, "A is new in every run"
        assert nonfinite is not None, "so its entries are looked at"
        rows = self.row_pass("a")
        launches = [
            rows.columns(
                new.a, a, self._slot_of, self._sources, self.found.a, nonfinite, self.flags
            )
        ]
        if a.places is not None:
            launches += self._high_digits_of_a(self._slot_of)
            launches += b.gather(self._copied.b, self._layouts.b.copied_tiles)
        return [*launches, *self._concluded(new, capturing)]

    def _lay_out(self) -> Tensor | None:
        """Write all that B has beside its low digits, and return the columns that A copies.

        Raises
        ------
        PlanDoesNotFitError
            If B does not fit the plan.
        """
        flags = torch.zeros(FLAG_WORDS, dtype=torch.int32, device=self._device)
        b, (a_layout, b_layout) = self.digits.b, (self._layouts.a, self._layouts.b)
        launches = b.assign_places(
            self._slot_of, self._copied.a[a_layout.copied_slots * TILE :], flags
        )
        if b_layout.own.groups:
            launches.append(b.fill(self._slot_of, flags))
        launches += b.gather(self._copied.b, b_layout.copied_slots)
        launch_now(launches, self._device)
        if int(flags[0]):
            raise PlanDoesNotFitError
        tiles = a_layout.copied_tiles
        return self._copied.a[: tiles * TILE].to(torch.int16) if tiles else None

    def _concluded(self, new: PerOperand[Source | None], capturing: bool) -> list[Launch]:
        """Return the conclusion, and what it may ask for."""
        behind = (self._planes[0], self._planes[1]) if capturing else (0, 0)
        planned = [
            x.count if isinstance(x, FusedOperand) else 1 + side.groups
            for x, side in ((self.sides.a, self.plan.a), (self.sides.b, self.plan.b))
        ]
        launches = [self.conclude((planned[0], planned[1]), behind, capturing)]
        # The first run loads these kernels, too, which a graph that is captured cannot.
        if capturing or not self._settled:
            launches += [
                digits.write_planes(source, 1, None, first=1, gate=self.status.gate)
                for digits, source in ((self.digits.a, new.a), (self.digits.b, new.b))
                if source is not None
            ]
        return launches

    def multiply(self, out: Tensor, capturing: bool) -> list[Launch]:
        """Return the product, and inside a CUDA graph the one behind the gate."""
        launches = [self.gemm(self.digits.a, self.digits.b, self._groups, out)]
        if out.dtype is torch.int32:
            launches += self._correct(out)
        if capturing:
            gate = self.status.gate
            launches.append(self.gemm(self.digits.a, self.digits.b, self._behind, out, gate))
        return launches

    def remultiply(self, report: Report, sums: Tensor) -> list[Launch]:
        """Return the product of the last run once more, into sums."""
        if report.gate:
            return [self.gemm(self.digits.a, self.digits.b, self._behind, sums)]
        product = self.gemm(self.digits.a, self.digits.b, self._groups, sums)
        return [product, *self._correct(sums)]

    def settle(self) -> None:
        """Record that all high digits had room."""
        if not self._settled:
            self._settled = True
            self.requeue()

    def digits_of(self, side: Side) -> Digits:
        """Return the digits of an operand."""
        return self.digits.of(side)

    def work(self, report: Report) -> Work:
        """Return the operation counts of the last run's products."""
        _, n, d, h = self.shape
        if report.gate:
            pairs = len(self._behind.segments)
            return Work(pairs * self._layouts.a.low, n * h * d * pairs)
        extra = sum(self._groups.high_tiles)
        copied = n * self._layouts.a.copied_tiles + h * self._layouts.b.copied_tiles
        return Work(
            self._layouts.a.low + extra,
            n * h * (d + TILE * extra) + report.listed,
            listed=report.listed,
            copied_bytes=copied * TILE,
        )

    def _digits(
        self, x: Incoming, layout: Layout, rows: int, chained: bool, zeros: Tensor
    ) -> ColumnDigits:
        if isinstance(x, Floats):
            d, ahead = self.shape[2], self.plan.surveyed or self.plan.slots is not None
            return ColumnDigits(rows, d, layout, self._device, ahead, chained, zeros)
        digits = x.with_columns(layout, chained, self.plan.slots)
        if digits is None:
            raise PlanDoesNotFitError
        return digits

    def _high_digits_of_a(self, slots: Tensor | None) -> list[Launch]:
        a, b, layout = self.digits.a, self.digits.b, self._layouts.b
        lists = self._groups.corrections
        places: list[Launch] = []
        if not (self._fixed.a and self._settled):
            places = a.assign_places(
                slots, self._copied.b[layout.copied_slots * TILE :], self.flags
            )
        elif lists is None:
            return []
        if lists is None:
            return [*places, *self._filled(a, slots)]
        return [
            *places,
            a.fill(slots, self.flags, Cross(b, self._cross_counts, lists, self._tiles_across)),
        ]

    def _high_digits_of_b(self, slots: Tensor | None) -> list[Launch]:
        copied = self._copied.a[self._layouts.a.copied_slots * TILE :]
        b = self.digits.b
        return [*b.assign_places(slots, copied, self.flags), *self._filled(b, slots)]

    def _filled(self, digits: ColumnDigits, slots: Tensor | None) -> list[Launch]:
        """Return what writes high digits; without any, the conclusion sees what was not planned."""
        return [digits.fill(slots, self.flags)] if digits.layout.own.groups else []

    def _correct(self, sums: Tensor) -> list[Launch]:
        lists = self._groups.corrections
        if lists is None:
            return []
        arguments = Correct(
            sums=sums,
            stride=sums.stride(1),
            tiles=lists.shape[0],
            tiles_across=self._tiles_across,
            corrections=lists,
            room=lists.shape[1],
        )
        return [Launch(PACK, "accelsim_correct", sums.device, arguments)]
