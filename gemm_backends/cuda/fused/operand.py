"""Rows of digits of an operand on the GPU: planes, and columns of high digits beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.kernels.launches import Launch, cleared
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
        return Launch(
            PLANES,
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
        return Launch(
            SPLIT,
            "accelsim_sample_columns",
            self.matrix.device,
            source.x,
            source.kind,
            self.rows,
            self.d,
            step,
            source.scale,
            source.scale_step,
            counts,
        )

    def split(
        self, source: Source, slots: Tensor | None, found: Tensor, flags: Tensor
    ) -> list[Launch]:
        """Return what takes the low digit of every entry, and writes or lists its high part."""
        layout = self.layout
        split = Launch(
            SPLIT,
            "accelsim_split",
            self.matrix.device,
            source.x,
            source.kind,
            source.planes,
            source.stride,
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
        return [cleared(self._zeros), split] if self._clears else [split]

    def assign_places(self, slots: Tensor | None, sources: Tensor, flags: Tensor) -> list[Launch]:
        """Return what gives places to columns without slots; the other operand copies `sources`."""
        if self.places is None:
            return []
        launch = Launch(
            HIGH_PARTS,
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
        return [launch]

    def fill(self, slots: Tensor | None, flags: Tensor, *cross: object) -> Launch:
        """Return what writes the high digits; `cross`: what `accelsim_fill` lists products of."""
        layout = self.layout
        return Launch(
            HIGH_PARTS,
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

    def gather(self, sources: Tensor, tiles: int) -> list[Launch]:
        """Return what copies low digits of columns `sources` for the other operand's high ones."""
        if not tiles:
            return []
        launch = Launch(
            HIGH_PARTS,
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
        return [launch]


def _zero_sizes(rows: int, d: int, layout: Layout, chained: bool) -> list[int]:
    """Return the words for counts by columns, for chains, and for marks by blocks of rows."""
    return [
        d if layout.slot_tiles else 0,
        d if chained else 0,
        -(-rows // BLOCK) * -(-d // 4) if layout.own.place_tiles else 0,
    ]
