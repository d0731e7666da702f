"""Rows of digits of an operand on the GPU: planes, and columns of high digits beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.kernels.nvcc import CSRC, CudaSource
from gemm_backends.cuda.fused.layout import Layout
from gemm_backends.cuda.fused.plan import BLOCK, TILE
from gemm_backends.cuda.fused.sides import Source

SPLIT = CudaSource(CSRC / "split.cu")
PLANES = CudaSource(CSRC / "planes.cu")
HIGH_PARTS = CudaSource(CSRC / "high_parts.cu")

ROW_MULTIPLE = 4
"""The GEMM's result has whole vectors of 16 bytes, so B has a multiple of this many rows."""


class Digits:
    """Rows of digits of an operand ``[heads, rows, d]``, int8, as a layout says.

    Every head has a multiple of `ROW_MULTIPLE` rows; those appended are not initialised, nor are
    the results that they give looked at.

    Parameters
    ----------
    heads, rows, d : int
        The shape.
    layout : Layout
        Of a row.
    device : torch.device
        A CUDA device.
    """

    def __init__(self, heads: int, rows: int, d: int, layout: Layout, device: torch.device) -> None:
        self.heads, self.rows, self.d, self.layout = heads, rows, d, layout
        self.stored = -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE
        shape = heads * self.stored, layout.tiles * TILE
        self.matrix = torch.empty(shape, dtype=torch.int8, device=device)

    @property
    def by_heads(self) -> Tensor:
        """The digits as ``[heads, stored rows, columns]``."""
        return self.matrix.view(self.heads, self.stored, -1)

    def write_planes(
        self,
        source: Source,
        count: int,
        found: Tensor | None,
        first: int = 0,
        gate: Tensor | None = None,
    ) -> None:
        """Write digits of every entry.

        Parameters
        ----------
        source : Source
            Floats or integers.
        count : int
            How many levels.
        found : Tensor or None
            Gets the largest sum of squares of a row, and how many digits the entries need where
            that is more.
        first : int
            The lowest level.
        gate : Tensor, optional
            int32 scalar: where it is 0, nothing is done.
        """
        PLANES.launch(
            "accelsim_planes",
            self.matrix.device,
            source.x,
            source.kind,
            self.heads * self.rows,
            self.d,
            source.scale,
            source.scale_step,
            self.matrix[:, self.layout.plane(first) * TILE :],
            self.matrix.stride(0),
            self.layout.low * TILE,
            self.rows,
            self.stored,
            first,
            count,
            found,
            gate,
        )

    def planes(self, count: int) -> Tensor:
        """Return the planes as ``[count, heads * rows, padded d]``."""
        padded = self.layout.low * TILE
        planes = self.by_heads[:, : self.rows, : count * padded]
        return planes.reshape(self.heads * self.rows, count, padded).transpose(0, 1)

    def beyond(self, count: int) -> int:
        """Count the entries with a digit in another plane than the first; waits for the GPU."""
        return int((self.planes(count)[1:] != 0).any(dim=0).sum()) if count > 1 else 0

    def used(self, count: int) -> int:
        """Return how many planes are needed; waits for the GPU."""
        return max(
            (plane for plane in range(1, count + 1) if self.planes(count)[plane - 1].any()),
            default=1,
        )


class ColumnDigits(Digits):
    """Digits of one matrix with slots and places, and the kernels that fill them.

    What is left of an entry above its low 8-bit digit, its high part, is written at once where its
    column has a slot already, else listed by rows.

    Parameters
    ----------
    rows, d : int
        The shape.
    layout : Layout
        Of a row, with as many blocks of the other operand as may come.
    device : torch.device
        A CUDA device.
    surveyed : bool
        Whether columns that are heavy throughout have their slots before it is split.
    chained : bool
        Whether listed high parts are chained by columns, too.
    """

    def __init__(
        self,
        rows: int,
        d: int,
        layout: Layout,
        device: torch.device,
        surveyed: bool,
        chained: bool,
    ) -> None:
        super().__init__(1, rows, d, layout, device)
        self.surveyed, self.chained = surveyed, chained
        own = layout.own

        def integers(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.int32, device=device)

        blocks = -(-rows // BLOCK)
        self.lists = integers(rows, own.list_length, 2)
        self.list_counts = integers(rows)
        self.next = integers(rows, own.list_length) if chained else None
        self.places = integers(blocks, d) if own.place_tiles else None
        # What a split begins with as zeros, side by side.
        marks = blocks * -(-d // 4) if own.place_tiles else 0
        self._zeros = integers(2 * d + marks)
        self.column_counts = self._zeros[:d] if layout.slot_tiles else None
        self.chains = self._zeros[d : 2 * d] if chained else None
        self._marks = self._zeros[2 * d :].view(torch.uint8) if marks else None

    def sample(self, source: Source, step: int, counts: Tensor) -> None:
        """Count the high parts that each column has in every `step`-th row of floats."""
        SPLIT.launch(
            "accelsim_sample_columns",
            source.x.device,
            source.x,
            source.kind,
            self.rows,
            self.d,
            step,
            source.scale,
            source.scale_step,
            counts,
        )

    def split(self, source: Source, slots: Tensor | None, found: Tensor, flags: Tensor) -> None:
        """Take the low digit of every entry, and write or list its high part."""
        layout = self.layout
        self._zeros.zero_()
        SPLIT.launch(
            "accelsim_split",
            self.matrix.device,
            source.x,
            source.kind,
            source.planes,
            source.x.stride(0),
            self.rows,
            self.d,
            layout.low * TILE,
            source.scale,
            source.scale_step,
            self.matrix,
            self.matrix.stride(0),
            layout.high * TILE,
            slots if self.surveyed else None,
            layout.own.groups,
            layout.slot_tiles * TILE,
            self.lists,
            layout.own.list_length,
            self.list_counts,
            self.column_counts,
            self._marks,
            self.chains,
            self.next,
            found,
            flags,
        )

    def assign_places(self, slots: Tensor | None, sources: Tensor, flags: Tensor) -> None:
        """Give places to columns that have no slot; the other operand copies those `sources`."""
        if self.places is None:
            return
        HIGH_PARTS.launch(
            "accelsim_assign_places",
            self.matrix.device,
            self._marks,
            self.rows,
            self.d,
            slots,
            self.layout.own.place_tiles * TILE,
            self.places,
            sources,
            flags,
        )

    def fill(self, slots: Tensor | None, flags: Tensor, *cross: object) -> None:
        """Write the high digits; `cross` is what `accelsim_fill` lists the products of."""
        layout = self.layout
        HIGH_PARTS.launch(
            "accelsim_fill",
            self.matrix.device,
            self.matrix[:, layout.high * TILE :],
            self.matrix.stride(0),
            self.rows,
            self.d,
            layout.own.groups,
            layout.slot_tiles * TILE,
            layout.own.place_tiles * TILE,
            layout.own.groups * layout.slot_tiles * TILE if self.surveyed else 0,
            slots,
            self.places,
            self.lists,
            layout.own.list_length,
            self.list_counts,
            flags,
            *(cross or (None, 0, None, None, None, None, 0, 0)),
        )

    def gather(self, sources: Tensor, tiles: int) -> None:
        """Copy low digits of columns `sources` for the other operand's high ones."""
        if tiles:
            HIGH_PARTS.launch(
                "accelsim_gather",
                self.matrix.device,
                self.matrix,
                self.matrix.stride(0),
                self.matrix.shape[0],
                self.layout.low * TILE,
                self.layout.copies * TILE,
                sources,
                tiles * TILE,
            )

    def high_entries(self) -> int:
        """Count the entries that have a high part; waits for the GPU."""
        layout, own = self.layout, self.layout.own
        count, begin = 0, layout.high * TILE
        for tiles in (layout.slot_tiles, own.place_tiles):
            end = begin + own.groups * tiles * TILE
            if begin < end:
                digits = self.matrix[: self.rows, begin:end]
                by_group = digits.reshape(self.rows, own.groups, -1)
                count += int((by_group != 0).any(dim=1).sum())
            begin = end
        return count
