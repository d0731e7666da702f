"""Rows of digits of an operand on the GPU: planes, and columns of high digits beside them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from accelsim.kernels.launches import Launch, cleared
from accelsim.kernels.nvcc import CSRC, CudaSource
from gemm_backends.cuda.fused.arguments import (
    AssignPlaces,
    Fill,
    Gather,
    SampleColumns,
    Split,
    WritePlanes,
)
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

    Every head has a multiple of `ROW_MULTIPLE` rows; appended rows are not initialised, and their
    results are ignored.

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

    @property
    def nbytes(self) -> int:
        """Bytes of the digits, and of what belongs to them."""
        return self.matrix.nbytes

    def write_planes(
        self,
        source: Source,
        count: int,
        found: Tensor | None,
        first: int = 0,
        gate: Tensor | None = None,
    ) -> Launch:
        """Return what writes digits of every entry.

        Parameters
        ----------
        source : Source
            Floats or integers.
        count : int
            How many levels.
        found : Tensor or None
            Gets the largest sum of squares of a row, how many digits the entries need, and how many
            of them need more than one.
        first : int
            The lowest level.
        gate : Tensor, optional
            int32 scalar: where it is 0, nothing is done.
        """
        arguments = WritePlanes(
            x=source.x,
            type=source.kind,
            n=self.heads * self.rows,
            d=self.d,
            scale=source.scale,
            scale_step=source.scale_step,
            digits=self.matrix[:, self.layout.plane(first) * TILE :],
            stride=self.matrix.stride(0),
            padded=self.layout.low * TILE,
            rows=self.rows,
            stored=self.stored,
            first=first,
            count=count,
            found=found,
            gate=gate,
        )
        return Launch(PLANES, "accelsim_planes", self.matrix.device, arguments)

    def planes(self, count: int) -> Tensor:
        """Return the planes as ``[count, heads * rows, padded d]``."""
        padded = self.layout.low * TILE
        planes = self.by_heads[:, : self.rows, : count * padded]
        return planes.reshape(self.heads * self.rows, count, padded).transpose(0, 1)


class Cross(NamedTuple):
    """Products of two high parts outside the slots, which are listed for each tile of C.

    Parameters
    ----------
    b : ColumnDigits
        B's digits, whose high parts are chained.
    counts : Tensor
        How many each list has, zeros before.
    products : Tensor
        The lists, ``[tiles, length, 2]`` int32.
    tiles_across : int
        Tiles in a row of C.
    """

    b: ColumnDigits
    counts: Tensor
    products: Tensor
    tiles_across: int


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
    zeros : Tensor, optional
        As many int32 words as `zero_words` says, which are zeros whenever `split` begins.

    Attributes
    ----------
    slots : tuple of int or None
        The columns that have slots in all runs; None where every run chooses them.
    """

    def __init__(
        self,
        rows: int,
        d: int,
        layout: Layout,
        device: torch.device,
        surveyed: bool,
        chained: bool,
        zeros: Tensor | None = None,
    ) -> None:
        super().__init__(1, rows, d, layout, device)
        self.surveyed, self.chained = surveyed, chained
        self.slots: tuple[int, ...] | None = None
        own = layout.own

        def integers(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.int32, device=device)

        blocks = -(-rows // BLOCK)
        self.lists = integers(rows, own.list_length, 2)
        self.list_counts = integers(rows)
        self.next = integers(rows, own.list_length) if chained else None
        self.places = integers(blocks, d) if own.place_tiles else None
        sizes = _zero_sizes(rows, d, layout, chained)
        self._zeros = integers(sum(sizes)) if zeros is None else zeros
        self._clears = zeros is None and self._zeros.numel() > 0
        counts, chains, marks = torch.split(self._zeros, sizes)
        self.column_counts = counts if layout.slot_tiles else None
        self.chains = chains if chained else None
        self._marks = marks.view(torch.uint8) if own.place_tiles else None

    @property
    def lists_by_name(self) -> dict[str, Tensor | None]:
        """The lists of high parts, and what is counted and marked for each."""
        return {
            "entries": self.lists,
            "list_counts": self.list_counts,
            "column_counts": self.column_counts,
            "chains": self.chains,
            "next": self.next,
            "marks": self._marks,
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the digits, of their lists and of their places."""
        more = (self.lists, self.list_counts, self.next, self.places)
        return self.matrix.nbytes + sum(x.nbytes for x in more if x is not None)

    @staticmethod
    def zero_words(rows: int, d: int, layout: Layout, chained: bool) -> int:
        """Return how many words a split begins with as zeros."""
        return sum(_zero_sizes(rows, d, layout, chained))

    def sample(self, source: Source, step: int, counts: Tensor) -> Launch:
        """Return what counts the high parts of each column in every `step`-th row of floats."""
        arguments = SampleColumns(
            x=source.x,
            type=source.kind,
            n=self.rows,
            d=self.d,
            step=step,
            scale=source.scale,
            scale_step=source.scale_step,
            counts=counts,
        )
        return Launch(SPLIT, "accelsim_sample_columns", self.matrix.device, arguments)

    def split(
        self, source: Source, slots: Tensor | None, found: Tensor, flags: Tensor
    ) -> list[Launch]:
        """Return what takes the low digit of every entry, and writes or lists its high part."""
        layout = self.layout
        arguments = Split(
            x=source.x,
            type=source.kind,
            planes=source.planes,
            x_stride=source.stride,
            n=self.rows,
            d=self.d,
            padded=layout.low * TILE,
            scale=source.scale,
            scale_step=source.scale_step,
            low=self.matrix,
            low_stride=self.matrix.stride(0),
            slots_at=layout.high * TILE,
            slots=slots if self.surveyed else None,
            groups=layout.own.groups,
            slot_count=layout.slot_tiles * TILE,
            list_length=layout.own.list_length,
            **self.lists_by_name,
            found=found,
            flags=flags,
        )
        split = Launch(SPLIT, "accelsim_split", self.matrix.device, arguments)
        return [cleared(self._zeros), split] if self._clears else [split]

    def assign_places(self, slots: Tensor | None, sources: Tensor, flags: Tensor) -> list[Launch]:
        """Return what gives places to columns without slots; the other operand copies `sources`."""
        if self.places is None:
            return []
        arguments = AssignPlaces(
            marks=self._marks,
            rows=self.rows,
            d=self.d,
            slots=slots,
            room=self.layout.own.place_tiles * TILE,
            places=self.places,
            sources=sources,
            flags=flags,
        )
        return [Launch(HIGH_PARTS, "accelsim_assign_places", self.matrix.device, arguments)]

    def fill(self, slots: Tensor | None, flags: Tensor, cross: Cross | None = None) -> Launch:
        """Return what writes the high digits; `cross`: whose products with them are listed."""
        layout, b = self.layout, cross.b if cross else None
        arguments = Fill(
            digits=self.matrix[:, layout.high * TILE :],
            stride=self.matrix.stride(0),
            rows=self.rows,
            d=self.d,
            groups=layout.own.groups,
            slots=layout.slot_tiles * TILE,
            places=layout.own.place_tiles * TILE,
            written=layout.own.groups * layout.slot_tiles * TILE if self.surveyed else 0,
            slot_of=slots,
            place_of=self.places,
            entries=self.lists,
            list_length=layout.own.list_length,
            list_counts=self.list_counts,
            flags=flags,
            entries_b=b.lists if b else None,
            list_length_b=b.layout.own.list_length if b else 0,
            chains=b.chains if b else None,
            next=b.next if b else None,
            counts=cross.counts if cross else None,
            corrections=cross.products if cross else None,
            room=cross.products.shape[1] if cross else 0,
            tiles_across=cross.tiles_across if cross else 0,
        )
        return Launch(HIGH_PARTS, "accelsim_fill", self.matrix.device, arguments)

    def gather(self, sources: Tensor, tiles: int) -> list[Launch]:
        """Return what copies low digits of columns `sources` for the other operand's high ones."""
        if not tiles:
            return []
        arguments = Gather(
            digits=self.matrix,
            stride=self.matrix.stride(0),
            rows=self.matrix.shape[0],
            columns=self.layout.low * TILE,
            copies=self.layout.copies * TILE,
            sources=sources,
            width=tiles * TILE,
        )
        return [Launch(HIGH_PARTS, "accelsim_gather", self.matrix.device, arguments)]


def _zero_sizes(rows: int, d: int, layout: Layout, chained: bool) -> list[int]:
    """Return the words for counts by columns, for chains, and for marks by blocks of rows."""
    return [
        d if layout.slot_tiles else 0,
        d if chained else 0,
        -(-rows // BLOCK) * -(-d // 4) if layout.own.place_tiles else 0,
    ]
