"""The scale of an operand, one for all of it or one for each row, found on the GPU."""

from __future__ import annotations

from decimal import Decimal

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import rank
from accelsim.kernels.launches import Launch, Pointer, cleared, launch_now
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.kernels.select import TYPES, Selector
from accelsim.types import Rounding
from gemm_backends.cuda.fused.arguments import RowScales

ROW_SCALES = CudaSource(CSRC / "row_scales.cu")


class Rounder:
    """Finds the scales of operands of one shape.

    Parameters
    ----------
    rounding : Rounding
        Percentile, β, granularity and what an α of 0 means.
    rows, d : int
        The shape, all heads below each other.
    device : torch.device
        A CUDA device.

    Attributes
    ----------
    scale : Tensor
        ``[1]`` or ``[rows]``, float32: the answer of the last `run`.
    by_row : bool
        Which of the two.
    rounding : Rounding
        The given one.
    ratio : Tensor
        ``[1]`` float32, with a scale for each row: of α to the mean magnitude in some row, from
        which the pass over rows guesses where to begin its search.
    nonfinite : Tensor
        int64 scalar: entries less the index of the first NaN or infinity; 0 for none.
    """

    def __init__(self, rounding: Rounding, rows: int, d: int, device: torch.device) -> None:
        self.rounding, self._shape = rounding, (rows, d)
        self.by_row = rounding.granularity == "row"
        if self.by_row:
            self.scale = torch.empty(rows, dtype=torch.float32, device=device)
            self.nonfinite = torch.empty((), dtype=torch.int64, device=device)
            self.ratio = torch.zeros(1, dtype=torch.float32, device=device)
            share = (100 - Decimal(str(rounding.percentile))) / 100
            self._share = share.as_integer_ratio()
        else:
            self._selector = Selector(rows * d, device)
            self._rank = rank(rows * d, rounding.percentile)
            self.scale = self._selector.scale.reshape(1)
            self.nonfinite = self._selector.nonfinite

    def launches(self, x: Pointer, kind: int, found: Tensor) -> list[Launch]:
        """Return the search for the scales of ``[rows, d]``; `found` gets flags, by rows.

        Parameters
        ----------
        x : Pointer
            Where the floats are, contiguous.
        kind : int
            The number of their type.
        found : Tensor
            What the pass over them finds.
        """
        if not self.by_row:
            return [self._selector.launch(x, kind, self._rank, self.rounding.beta)]
        (n, d), (numerator, denominator) = self._shape, self._share
        arguments = RowScales(
            x=x,
            type=kind,
            n=n,
            d=d,
            numerator=numerator,
            denominator=denominator,
            nonzero=self.rounding.zero_alpha == "nonzero",
            beta=float(self.rounding.beta),
            scales=self.scale,
            nonfinite=self.nonfinite,
            found=found,
        )
        search = Launch(ROW_SCALES, "accelsim_row_scales", self.scale.device, arguments)
        return [cleared(self.nonfinite), search]

    def run(self, x: Tensor, found: Tensor) -> None:
        """Queue the search in floats."""
        pointer = Pointer()
        launches = self.launches(pointer, TYPES[x.dtype], found)
        pointer.set(x.data_ptr())
        launch_now(launches, x.device)
