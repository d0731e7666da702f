"""One operand of the pipeline on the GPU: its scale, its low digits and its high parts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from accelsim.gpu.select import TYPES, Selector
from accelsim.nvcc import CudaSource
from accelsim.quantize import rank

SOURCE = CudaSource(Path(__file__).parents[1] / "csrc" / "pipeline.cu")
TILE = 128
ALIGNMENT = 16
ROW_MULTIPLE = 4
"""The GEMM's result has whole vectors of 16 bytes, so B has a multiple of this many rows."""


class Operand:
    """Buffers of an operand ``[rows, d]`` and the kernels that fill them.

    `digits` is ``[rows, front + padded]`` int8, with rows of zeros appended: columns that
    `Pipeline` fills, then the low 8-bit digits, then zeros up to a multiple of 16. What is left of
    an entry above its low digit, its high part, is listed by rows.

    Parameters
    ----------
    like : Tensor
        ``[rows, d]``, contiguous, the type and device of what will come.
    percentile, beta : float
        Of the quantization.
    front : int
        Columns in front of the low digits.
    list_length : int
        The most high parts that a row may have.
    count_columns : bool
        Whether to count the high parts of every column.
    largest_square : Tensor
        float32 scalar for the largest sum of a row's squares; it must be zero before a split.
    flags : Tensor
        int32 scalar that collects what does not fit.
    """

    def __init__(
        self,
        like: Tensor,
        percentile: float,
        beta: float,
        front: int,
        list_length: int,
        count_columns: bool,
        largest_square: Tensor,
        flags: Tensor,
    ) -> None:
        self.rows, self.d = like.shape
        self.padded = -(-self.d // ALIGNMENT) * ALIGNMENT
        self.front, self.list_length, self.beta = front, list_length, beta
        self._rank = rank(like.numel(), percentile)
        self.largest_square, self._flags = largest_square, flags
        self.selector = Selector(like.numel(), like.device)

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=like.device)

        rows = -(-self.rows // ROW_MULTIPLE) * ROW_MULTIPLE
        self.digits = integers(rows, (front + self.padded) // 4).view(torch.int8)
        self.lists = integers(self.rows, list_length, 2)
        self.list_counts = integers(self.rows)
        self.column_counts = integers(self.d) if count_columns else None

    def select(self, x: Tensor) -> None:
        """Find the scale."""
        self.selector.run(x, self._rank, self.beta)

    def split(self, x: Tensor) -> None:
        """Round every entry; write its low digit and list its high part."""
        SOURCE.launch(
            "accelsim_split",
            x.device,
            x,
            TYPES[x.dtype],
            self.rows,
            self.d,
            self.padded,
            self.selector.scale,
            self.digits[:, self.front :],
            self.digits.stride(0),
            self.lists,
            self.list_length,
            self.list_counts,
            self.column_counts,
            self.largest_square,
            self._flags,
        )
