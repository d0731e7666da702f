"""One operand of the pipeline on the GPU: its scale, its low digits and its high parts."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import rank
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.kernels.select import TYPES, Selector
from gemm_backends.cuda.fused.layout import Layout
from gemm_backends.cuda.fused.plan import BLOCK, TILE

SPLIT = CudaSource(CSRC / "split.cu")
HIGH_PARTS = CudaSource(CSRC / "high_parts.cu")

ROW_MULTIPLE = 4
"""The GEMM's result has whole vectors of 16 bytes, so B has a multiple of this many rows."""


class Operand:
    """Buffers of an operand ``[rows, d]`` and the kernels that fill them.

    `digits` is int8, as its `Layout` says, with rows of zeros appended. What is left of an entry
    above its low 8-bit digit, its high part, is written at once where its column has a slot
    already, else listed by rows.

    Parameters
    ----------
    like : Tensor
        ``[rows, d]``, contiguous, the type and device of what will come.
    percentile, beta : float
        Of the quantization.
    layout : Layout
        Of a row.
    flags : Tensor
        int32 scalar that collects what does not fit.
    surveyed : bool
        Whether columns that are heavy throughout have their slots before it is split.
    chained : bool
        Whether listed high parts are chained by columns, too.
    """

    def __init__(
        self,
        like: Tensor,
        percentile: float,
        beta: float,
        layout: Layout,
        flags: Tensor,
        surveyed: bool,
        chained: bool,
    ) -> None:
        self.rows, self.d = like.shape
        self._surveyed = surveyed
        self.layout, self.beta, self._flags = layout, beta, flags
        self._rank = rank(like.numel(), percentile)
        self.selector = Selector(like.numel(), like.device)

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=like.device)

        rows = -(-self.rows // ROW_MULTIPLE) * ROW_MULTIPLE
        blocks = -(-self.rows // BLOCK)
        own = layout.own
        self.digits = integers(rows, layout.tiles * TILE // 4).view(torch.int8)
        self.lists = integers(self.rows, own.list_length, 2)
        self.list_counts = integers(self.rows)
        self.next = integers(self.rows, own.list_length) if chained else None
        self.sources = integers(max(4, layout.copied_tiles * TILE))
        """The columns that the copies are of."""
        self.places = integers(blocks, self.d) if own.place_tiles else None
        # What a split begins with as zeros, side by side.
        marks = blocks * -(-self.d // 4) if own.place_tiles else 0
        self._zeros = integers(1 + 2 * self.d + marks)
        self.largest_square = self._zeros[:1].view(torch.float32)
        self.column_counts = self._zeros[1 : 1 + self.d] if layout.slot_tiles else None
        self.chains = self._zeros[1 + self.d : 1 + 2 * self.d] if chained else None
        self._marks = self._zeros[1 + 2 * self.d :].view(torch.uint8) if marks else None

    def select(self, x: Tensor) -> None:
        """Find the scale."""
        self.selector.run(x, self._rank, self.beta)

    def sample(self, x: Tensor, step: int, counts: Tensor) -> None:
        """Count the high parts that each column has in every `step`-th row."""
        SPLIT.launch(
            "accelsim_sample_columns",
            x.device,
            x,
            TYPES[x.dtype],
            self.rows,
            self.d,
            step,
            self.selector.scale,
            counts,
        )

    def split(self, x: Tensor, slots: Tensor | None) -> None:
        """Round every entry; write its low digit, and write or list its high part."""
        self._zeros.zero_()
        SPLIT.launch(
            "accelsim_split",
            x.device,
            x,
            TYPES[x.dtype],
            self.rows,
            self.d,
            self.layout.low * TILE,
            self.selector.scale,
            self.digits,
            self.digits.stride(0),
            slots if self._surveyed else None,
            self.layout.own.groups,
            self.layout.slot_tiles * TILE,
            self.lists,
            self.layout.own.list_length,
            self.list_counts,
            self.column_counts,
            self._marks,
            self.chains,
            self.next,
            self.largest_square,
            self._flags,
        )

    def assign_places(self, slots: Tensor | None, other: Operand) -> None:
        """Give places to columns that have no slot; the other operand will copy them."""
        if self.places is None:
            return
        HIGH_PARTS.launch(
            "accelsim_assign_places",
            self.digits.device,
            self._marks,
            self.rows,
            self.d,
            slots,
            self.layout.own.place_tiles * TILE,
            self.places,
            other.sources[other.layout.copied_slots * TILE :],
            self._flags,
        )

    def fill(self, slots: Tensor | None, *cross: object) -> None:
        """Write the high digits; `cross` is what `accelsim_fill` lists the products of."""
        layout = self.layout
        HIGH_PARTS.launch(
            "accelsim_fill",
            self.digits.device,
            self.digits[:, layout.low * TILE :],
            self.digits.stride(0),
            self.rows,
            self.d,
            layout.own.groups,
            layout.slot_tiles * TILE,
            layout.own.place_tiles * TILE,
            layout.own.groups * layout.slot_tiles * TILE if self._surveyed else 0,
            slots,
            self.places,
            self.lists,
            layout.own.list_length,
            self.list_counts,
            self._flags,
            *(cross or (None, 0, None, None, None, None, 0, 0)),
        )

    def gather(self) -> None:
        """Copy low digits for the other operand's high ones."""
        width = self.layout.copied_tiles * TILE
        if width:
            HIGH_PARTS.launch(
                "accelsim_gather",
                self.digits.device,
                self.digits,
                self.digits.stride(0),
                self.digits.shape[0],
                self.layout.low * TILE,
                self.layout.copies * TILE,
                self.sources,
                width,
            )
