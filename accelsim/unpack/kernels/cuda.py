"""Count and write digits on a CUDA device: compiled kernels that round on the way.

One pass over the operand, queued as soon as it is there, writes the lowest digits of all rows and
says how many digits each needs. The rows that need more are read once more for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.granularity import row_scales
from accelsim.arithmetic.rounding import Quantized
from accelsim.kernels.arriving import Arriving
from accelsim.kernels.nvcc import compiles_for
from accelsim.kernels.write_digits import DigitWriter
from accelsim.unpack.kernels.generic import GenericKernels

WIDEST = 8
"""Bits of a digit in an int8."""


@dataclass
class _Lowest:
    """The results of the first pass.

    Parameters
    ----------
    writer : DigitWriter
        Of the operand.
    digits : Tensor
        int8 ``[batch * n + room, stride]``: the lowest digits of all rows, and room behind them.
    found : Arriving
        int32 ``[2, batch * n]``: digits that each row needs, and its entries that do not fit one.
    levels : Tensor or None
        Of the rows of the only matrix, whose further digits stand in the room; None for nothing.
    """

    writer: DigitWriter
    digits: Tensor
    found: Arriving
    levels: Tensor | None = None


class CudaKernels(GenericKernels):
    """Implements `Kernels` for floats with their scale on a CUDA device.

    Torch operations do what it has no kernel for.

    Parameters
    ----------
    operand : Quantized
        With entries, all of which become int32.
    system : DigitSystem
        Digits of up to 8 bits, the last of which is as the low ones.
    """

    def __init__(self, operand: Quantized, system: DigitSystem) -> None:
        super().__init__(operand, system)
        self._quantized = operand
        self._lowest: _Lowest | None = None

    @staticmethod
    def write(operand: Quantized, system: DigitSystem) -> bool:
        """Whether the kernels write these digits of an operand."""
        return (
            operand.operand.numel() > 0
            and operand.dtype == torch.int32
            and system.bits <= WIDEST
            and not system.keeps_last
            and compiles_for(operand.operand.device)
        )

    def begin(self) -> None:
        """Queue the first pass."""
        if self._lowest is not None:
            return
        batch, n, d = self.shape
        rows, system = batch * n, self._system
        x = self._quantized.operand.view(rows, d)
        scale = self._quantized.scale
        if scale.ndim:
            scale = row_scales(scale, self._quantized.operand.shape).reshape(rows)
        writer = DigitWriter(x, scale, system.shift, system.low_digits[0])
        room = n if batch == 1 else 0
        digits = torch.empty((rows + room, writer.stride), dtype=torch.int8, device=x.device)
        found = torch.empty((2, rows), dtype=torch.int32, device=x.device)
        writer.lowest(digits[:rows], found)
        self._lowest = _Lowest(writer, digits, Arriving(found))

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need, and queue their further digits."""
        levels = self._written.found.wait()[0].to(torch.int64).reshape(self.shape[:2])
        if len(levels) == 1:
            self._fill_room(levels[0])
        return levels

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""
        return tuple(self._written.found.wait()[1].reshape(self.shape[:2]).sum(dim=1).tolist())

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits."""
        if columns is not None:
            return super().digits(head, row_levels, columns, skip, last)
        lowest, (_, n, d) = self._written, self.shape
        written = lowest.digits[head * n : (head + 1) * n]
        if lowest.levels is not None and torch.equal(lowest.levels, row_levels):
            written = lowest.digits[: int(row_levels.sum())]
        elif int(row_levels.max()) > 1:
            places = _places(row_levels) + torch.tensor([[head * n], [0]], device="cpu")
            more = written.new_empty((places.shape[1], written.shape[1]))
            self._write_further(places, more)
            written = torch.cat([written, more])
        return written[:, :d].contiguous()

    def _fill_room(self, levels: Tensor) -> None:
        """Write the further digits of the only matrix right behind its lowest ones."""
        lowest, n = self._written, len(levels)
        count = int(levels.sum()) - n
        if 0 < count <= len(lowest.digits) - n:
            self._write_further(_places(levels), lowest.digits[n : n + count])
            lowest.levels = levels

    @property
    def _written(self) -> _Lowest:
        self.begin()
        assert self._lowest is not None, "begin makes it"
        return self._lowest

    def _write_further(self, places: Tensor, digits: Tensor) -> None:
        self._written.writer.further(places.to(digits.device, non_blocking=True), digits)


def _places(row_levels: Tensor) -> Tensor:
    """Return rows and levels from 1 on, int64 ``[2, count]``, level by level."""
    parts = [torch.empty((2, 0), dtype=torch.int64, device="cpu")]
    for level in range(1, int(row_levels.max())):
        rows = (row_levels > level).nonzero().squeeze(1)
        parts.append(torch.stack([rows, torch.full_like(rows, level)]))
    return torch.cat(parts, dim=1)
