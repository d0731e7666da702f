"""The input of a run on one side: new floats, or a prepared operand."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.kernels.launches import Pointer
from accelsim.kernels.select import TYPES
from gemm_backends.cuda.fused.rounder import Rounder

FOUND_WORDS = 6
"""Size of the kernels' ``Found`` in words of 32 bits."""

FLAG_WORDS = 2
"""What kernels collect of a run: its flags, and how many products of high parts are listed."""


@dataclass(frozen=True)
class Source:
    """The source of an operand's integers.

    Parameters
    ----------
    x : Tensor or Pointer
        Floats ``[rows, d]``, int64 integers ``[rows, d]``, or planes of digits by rows.
    kind : int
        The number of the floats' type; 3 for int64.
    planes : int
        How many planes of digits there are; 0 for the others.
    scale : Tensor or None
        Of floats.
    stride : int
        Bytes from row to row of planes.
    """

    x: Tensor | Pointer
    kind: int = 0
    planes: int = 0
    scale: Tensor | None = None
    stride: int = 0

    @property
    def scale_step(self) -> int:
        """1 for a scale for each row, 0 for one for all."""
        return int(self.scale is not None and self.scale.numel() > 1)


INT64_KIND = 3


class Floats:
    """An operand that is new in every run, ``[rows, d]``, all heads below each other.

    Parameters
    ----------
    x : Tensor
        Contiguous.
    rounder : Rounder
        Finds its scale.
    """

    __slots__ = ("rounder", "x")

    exponent = 0
    """The power of two by which the operand was multiplied before: none."""

    number = None
    """Distinguishes it from prepared operands."""

    def __init__(self, x: Tensor, rounder: Rounder) -> None:
        self.x, self.rounder = x, rounder

    @property
    def scale(self) -> Tensor:
        """``[1]`` or ``[rows]``, float32: of the last run."""
        return self.rounder.scale

    @property
    def by_row(self) -> bool:
        """Whether every row has its own scale."""
        return self.rounder.by_row

    def without_values(self) -> Floats:
        """Return it without the tensor, for queries after a run."""
        return Floats(_nothing(self.x.dtype, self.x.device), self.rounder)

    @property
    def kind(self) -> int:
        """The number of the floats' type."""
        return TYPES[self.x.dtype]

    def source(self, pointer: Pointer | None = None) -> Source:
        """Return where its integers are read from: there, or where a pointer shows."""
        return Source(pointer or self.x, self.kind, scale=self.rounder.scale)


@functools.cache
def _nothing(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor without entries."""
    return torch.empty(0, dtype=dtype, device=device)
