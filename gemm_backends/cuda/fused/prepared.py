"""A fixed operand, such as a weight: rounded and written in digits once."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from accelsim.kernels.launches import launch_now
from accelsim.types import PreparedOperand, Side
from gemm_backends.cuda.fused.layout import Layout
from gemm_backends.cuda.fused.operand import ColumnDigits, Digits
from gemm_backends.cuda.fused.plan import TILE, high_parts
from gemm_backends.cuda.fused.sides import FLAG_WORDS, Source

_NUMBERS = itertools.count()


class FusedOperand(PreparedOperand):
    """Planes of digits of an operand, enough for every entry, and facts about them.

    Parameters
    ----------
    side : {"a", "b"}
        Which operand it is.
    shape : torch.Size
        Of the float operand.
    digits : Digits
        Its digits; the first `count` planes are never written again.
    count : int
        Digits that the largest entry needs.
    scale : Tensor
        ``[1]`` or ``[rows]``, float32.
    by_row : bool
        Which of the two.
    found : Tensor
        What the pass over it found, as the kernels know it.
    beyond : int
        Entries that need more than one digit.
    exponent : int
        The operand was multiplied by ``2**exponent`` before it was rounded.

    Attributes
    ----------
    high_lists : tuple of Tensor, or None
        What `list_high_parts` has listed: ``[rows + 1]`` and ``[parts, 2]``, int32. Row i has the
        high parts from the i-th number to the next one; each is a column and a value.
    """

    def __init__(
        self,
        side: Side,
        shape: torch.Size,
        digits: Digits,
        count: int,
        scale: Tensor,
        by_row: bool,
        found: Tensor,
        beyond: int,
        exponent: int = 0,
    ) -> None:
        super().__init__(side, shape)
        self.number = next(_NUMBERS)
        self.digits, self.count, self.beyond = digits, count, beyond
        self.scale, self.by_row, self.found, self.exponent = scale, by_row, found, exponent
        self.high_lists: tuple[Tensor, Tensor] | None = None

    @property
    def source(self) -> Source:
        """Where its integers are read from."""
        matrix = self.digits.matrix
        return Source(matrix, planes=self.count, stride=matrix.stride(0))

    def integers(self) -> Tensor:
        """Return the integers as ``[heads * rows, d]`` int32; for three digits at most."""
        total = torch.zeros((), dtype=torch.int32, device=self.scale.device)
        for plane in self.digits.planes(self.count).flip(0).unbind():
            total = total * 256 + plane[:, : self.digits.d].to(torch.int32)
        return total

    def list_high_parts(self) -> None:
        """List what is above the low digits by rows; for three digits at most."""
        high = high_parts(self.integers())
        rows, columns = high.nonzero(as_tuple=True)
        counts = torch.bincount(rows, minlength=len(high))
        entries = torch.stack([columns.to(torch.int32), high[rows, columns]], dim=1)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.high_lists = offsets.to(torch.int32), entries.contiguous()

    def with_columns(
        self, layout: Layout, chained: bool, slots: tuple[int, ...] | None
    ) -> ColumnDigits | None:
        """Return its digits with room for slots, places and copies.

        Parameters
        ----------
        layout : Layout
            Of a row; its planes are those of the operand.
        chained : bool
            Whether listed high parts are chained by columns, too.
        slots : tuple of int or None
            The columns that have slots in all runs; None where every run chooses them.

        Returns
        -------
        ColumnDigits or None
            None where the layout has no room for its high parts.
        """
        old = self.digits
        if (
            isinstance(old, ColumnDigits)
            and old.chained >= chained
            and old.slots == slots
            and _same_rows(old.layout, layout)
            and old.layout.other_blocks >= layout.other_blocks
        ):
            return old
        new = ColumnDigits(old.rows, old.d, layout, old.matrix.device, False, chained)
        flags = torch.zeros(FLAG_WORDS, dtype=torch.int32, device=old.matrix.device)
        found = torch.zeros_like(self.found)
        launch_now(new.split(self.source, None, found, flags), old.matrix.device)
        if int(flags[0]):
            return None
        first, end = layout.plane(1) * TILE, layout.plane(self.count) * TILE
        new.matrix[:, first:end] = old.matrix[:, first:end]
        new.slots = slots
        self.digits = new
        return new


def _same_rows(first: Layout, second: Layout) -> bool:
    return (first.low, first.planes, first.own, first.other, first.slot_tiles) == (
        second.low,
        second.planes,
        second.own,
        second.other,
        second.slot_tiles,
    )
