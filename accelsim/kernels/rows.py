"""Quantize and unpack by rows in one pass on the GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.errors import AccelsimError, InputError
from accelsim.kernels.nvcc import CSRC, CudaSource
from accelsim.kernels.select import TYPES

SOURCE = CudaSource(CSRC / "rows.cu")
ALIGNMENT = 16
WIDTHS = (2, 4, 8)


class RowUnpacker:
    """Writes an operand ``[rows, d]`` in balanced b-bit digits, one row for every level of a row.

    Parameters
    ----------
    like : Tensor
        ``[rows, d]``, contiguous, the type and device of what will come.
    bits : {2, 4, 8}
        Width of a digit.
    most_appended : int
        Room for rows of higher digits. Their number is known only after a run.

    Attributes
    ----------
    digits : Tensor
        ``[rows + most_appended, padded]`` int8, d filled up with zeros to a multiple of 16. Row i
        has the lowest digits of row i.
    map : Tensor
        ``[most_appended, 2]`` int32: for each row behind them the row of the operand and the level
        of its digits, which weigh ``2**(bits * level)``.
    appended : Tensor
        int32 scalar: rows of higher digits of the last run.

    Raises
    ------
    InputError
        If digits of this width, or such tensors, are not written here.
    """

    def __init__(self, like: Tensor, bits: int, most_appended: int) -> None:
        if bits not in WIDTHS:
            raise InputError(f"the GPU unpacks rows to 2, 4 or 8 bits, not {bits}")
        if like.dtype not in TYPES or like.ndim != 2 or not like.is_contiguous():
            raise InputError(
                "a contiguous float32, float16 or bfloat16 matrix is needed; got "
                f"{like.dtype} {[*like.shape]}"
            )
        self.bits = bits
        self._shape = like.shape
        rows, d = like.shape
        padded = -(-d // ALIGNMENT) * ALIGNMENT
        device = like.device
        self.digits = torch.zeros((rows + most_appended, padded), dtype=torch.int8, device=device)
        self.map = torch.zeros((most_appended, 2), dtype=torch.int32, device=device)
        self.appended = torch.zeros((), dtype=torch.int32, device=device)

    def run(self, x: Tensor, scale: Tensor) -> None:
        """Queue the pass over `x` on the current stream; `scale` is a float32 scalar there."""
        self.appended.zero_()
        rows, d = self._shape
        if not x.numel():
            return
        SOURCE.launch(
            "accelsim_unpack_rows",
            x.device,
            x,
            TYPES[x.dtype],
            rows,
            d,
            self.bits,
            scale,
            self.digits,
            self.digits.shape[1],
            self.digits.shape[0],
            self.map,
            self.appended,
        )

    def result(self) -> tuple[Tensor, Tensor]:
        """Wait, and return the digits and the map without the room that was not needed.

        Raises
        ------
        AccelsimError
            If there was not enough room.
        """
        rows, d = self._shape
        appended = int(self.appended)
        if appended > self.map.shape[0]:
            raise AccelsimError(
                f"{appended} rows of higher digits are needed and there is room for "
                f"{self.map.shape[0]}"
            )
        return self.digits[: rows + appended, :d], self.map[:appended]
