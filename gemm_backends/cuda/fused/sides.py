"""What comes into a run on one side: new floats, or an operand that was prepared."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from accelsim.kernels.select import TYPES
from gemm_backends.cuda.fused.rounder import Rounder

FOUND_WORDS = 4
"""Size of the kernels' ``Found`` in words of 32 bits."""


@dataclass(frozen=True)
class Source:
    """Where the integers of an operand are read from.

    Parameters
    ----------
    x : Tensor
        Floats ``[rows, d]``, int64 integers ``[rows, d]``, or planes of digits by rows.
    kind : int
        The number of the floats' type; 3 for int64.
    planes : int
        How many planes of digits there are; 0 for the others.
    scale : Tensor or None
        Of floats.
    """

    x: Tensor
    kind: int = 0
    planes: int = 0
    scale: Tensor | None = None

    @property
    def scale_step(self) -> int:
        """1 for a scale for each row, 0 for one for all."""
        return int(self.scale is not None and self.scale.numel() > 1)


INT64_KIND = 3


@dataclass(frozen=True)
class Floats:
    """An operand that is new in every run, ``[rows, d]``, all heads below each other.

    Parameters
    ----------
    x : Tensor
        Contiguous.
    rounder : Rounder
        Finds its scale.
    """

    x: Tensor
    rounder: Rounder

    exponent = 0
    """What powers of two the operand was multiplied by before: none."""

    number = None
    """What tells it from prepared operands."""

    @property
    def scale(self) -> Tensor:
        """``[1]`` or ``[rows]``, float32: of the last run."""
        return self.rounder.scale

    @property
    def by_row(self) -> bool:
        """Whether every row has its own scale."""
        return self.rounder.by_row

    def without_values(self) -> Floats:
        """Return it without the tensor, for what is asked after a run."""
        return Floats(self.x.new_empty(0), self.rounder)

    @property
    def source(self) -> Source:
        """Where its integers are read from."""
        return Source(self.x, TYPES[self.x.dtype], scale=self.rounder.scale)
