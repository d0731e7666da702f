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
from accelsim.kernels.nvcc import compiles_for
from accelsim.kernels.write_digits import DigitWriter
from accelsim.unpack.kernels.generic import GenericKernels

WIDEST = 8
"""Bits of a digit in an int8."""


@dataclass
class _Lowest:
    """What the first pass writes.

    Parameters
    ----------
    writer : DigitWriter
        Of the operand.
    digits : Tensor
        int8 ``[batch * n + room, stride]``: the lowest digits of all rows, and room behind them.
    found : Tensor
        int32 ``[2, batch * n]`` in pinned memory: digits that each row needs, and its entries that
        do not fit one, once `done`.
    done : torch.cuda.Event
        When `found` has arrived.
    room_taken : bool
        Whether something stands in the room.
    """

    writer: DigitWriter
    digits: Tensor
    found: Tensor
    done: torch.cuda.Event
    room_taken: bool = False


class CudaKernels(GenericKernels):
    """Implements `Kernels` for floats with their scale on a CUDA device.

    What it has no kernel for takes torch operations.

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
        arrived = torch.empty((2, rows), dtype=torch.int32, device="cpu", pin_memory=True)
        arrived.copy_(found, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(x.device))
        self._lowest = _Lowest(writer, digits, arrived, done)

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need."""
        return self._arrived[0].to(torch.int64).reshape(self.shape[:2])

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""
        return tuple(self._arrived[1].reshape(self.shape[:2]).sum(dim=1).tolist())

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits."""
        if columns is not None or bool(skip.any()):
            return super().digits(head, row_levels, columns, skip, last)
        lowest, (_, n, d) = self._written, self.shape
        first = head * n
        places = _places(row_levels) + torch.tensor([[first], [0]], device="cpu")
        count = places.shape[1]
        # Digits in the room lie right behind the lowest ones of the only matrix.
        if 0 < count <= len(lowest.digits) - self.shape[0] * n and not lowest.room_taken:
            lowest.room_taken = True
            written = lowest.digits[: n + count]
            self._write_further(lowest, places, written[n:])
        else:
            written = lowest.digits[first : first + n]
            if count:
                more = written.new_empty((count, written.shape[1]))
                self._write_further(lowest, places, more)
                written = torch.cat([written, more])
        return written[:, :d].contiguous()

    @property
    def _written(self) -> _Lowest:
        self.begin()
        assert self._lowest is not None, "begin makes it"
        return self._lowest

    @property
    def _arrived(self) -> Tensor:
        self._written.done.synchronize()
        return self._written.found

    @staticmethod
    def _write_further(lowest: _Lowest, places: Tensor, digits: Tensor) -> None:
        lowest.writer.further(places.to(digits.device, non_blocking=True), digits)


def _places(row_levels: Tensor) -> Tensor:
    """Return rows and levels from 1 on, int64 ``[2, count]``, level by level."""
    parts = [torch.empty((2, 0), dtype=torch.int64, device="cpu")]
    for level in range(1, int(row_levels.max())):
        rows = (row_levels > level).nonzero().squeeze(1)
        parts.append(torch.stack([rows, torch.full_like(rows, level)]))
    return torch.cat(parts, dim=1)
