"""Round an operand and write its rows in digits on the GPU."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.kernels.arriving import Arriving, Mail
from accelsim.kernels.nvcc import CSRC, CudaSource

SOURCE = CudaSource(CSRC / "write_digits.cu")

ALIGNMENT = 16
"""Digits in a vector; rows of digits are filled up to whole ones with zeros."""


class _Operand(ctypes.Structure):
    """``Operand`` of the kernels."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("d", ctypes.c_int64),
        ("scale", ctypes.c_void_p),
        ("scale_step", ctypes.c_int64),
        ("stride", ctypes.c_int64),
        ("shift", ctypes.c_int32),
        ("lowest", ctypes.c_int32),
        ("aligned", ctypes.c_int32),
    )


class _Target(ctypes.Structure):
    """``Target`` of the kernels."""

    _fields_ = (
        ("digits", ctypes.c_void_p),
        ("summary", ctypes.c_void_p),
        ("found", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("mail", Mail),
    )


class _Summary(ctypes.Structure):
    """``Summary`` of the kernels."""

    _fields_ = (
        ("outside", ctypes.c_longlong),
        ("listed", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        ("further", ctypes.c_int32 * 32),
    )


_SUMMARY_WORDS = ctypes.sizeof(_Summary) // 4


@dataclass(frozen=True)
class FoundInRows:
    """What was found in the rows of an operand.

    Parameters
    ----------
    levels, outside : ndarray
        int32 ``[rows]``: how many digits each row needs, and how many of its entries do not fit
        one.
    further : list of int or None
        How many rows need more than 1, 2, … digits; None without room for further digits.
    total_outside : int or None
        The sum of `outside`; None as `further`.
    """

    levels: npt.NDArray[np.int32]
    outside: npt.NDArray[np.int32]
    further: list[int] | None
    total_outside: int | None


class DigitWriter:
    """Writes digits of ``rint(x * scale)``; the last of an entry is as its low ones are.

    Parameters
    ----------
    x : Tensor
        ``[rows, d]`` float32, contiguous, on a CUDA device, with entries. Digits of integers from
        2^31 on are not theirs.
    scale : Tensor
        float32: a scalar, or ``[rows]``.
    shift : int
        The radix is ``2**shift``, at most 2^8.
    lowest : int
        The smallest digit; the largest is ``lowest + 2**shift - 1``.
    room : int
        Number of further digits of rows that are written behind the lowest ones.

    Attributes
    ----------
    digits : Tensor
        int8 ``[rows + room, stride]``, a multiple of `ALIGNMENT` digits a row: the lowest digits of
        all rows, then the further ones, level by level.
    places : Tensor
        int64 ``[2, room]``: the rows and the levels, from 1, of the further digits.
    """

    def __init__(self, x: Tensor, scale: Tensor, shift: int, lowest: int, room: int) -> None:
        self._x, self._scale = x, scale
        rows, d = x.shape
        stride = -(-d // ALIGNMENT) * ALIGNMENT
        aligned = x.data_ptr() % 16 == 0 and d % 4 == 0
        step = 0 if scale.ndim == 0 else scale.stride(0)
        self._operand = _Operand(
            x.data_ptr(), d, scale.data_ptr(), step, stride, shift, lowest, aligned
        )
        self.digits = torch.empty((rows + room, stride), dtype=torch.int8, device=x.device)
        self.places = torch.empty((2, room), dtype=torch.int64, device=x.device)
        words = _SUMMARY_WORDS + 2 * rows
        self._found = torch.empty(words, dtype=torch.int32, device=x.device)
        self._arriving = Arriving(words, x.device)
        summary = self._found.data_ptr()
        self._target = _Target(
            self.digits.data_ptr(),
            summary,
            summary + ctypes.sizeof(_Summary),
            self.places.data_ptr(),
            rows,
            room,
            self._arriving.mail,
        )

    def run(self) -> None:
        """Queue what writes `digits` and `places`."""
        SOURCE.launch("accelsim_write_digits", self._x.device, self._operand, self._target)

    def found(self) -> FoundInRows:
        """Wait for what was found in the rows, which is known before the further digits."""
        words = self._arriving.wait()
        levels, outside = words[_SUMMARY_WORDS:].reshape(2, -1)
        if not self._target.room:
            return FoundInRows(levels, outside, None, None)
        summary = _Summary.from_buffer_copy(words[:_SUMMARY_WORDS].tobytes())
        return FoundInRows(levels, outside, summary.further[: summary.levels - 1], summary.outside)

    def further(self, places: Tensor) -> Tensor:
        """Queue what writes chosen rows at chosen levels, and return their digits.

        Parameters
        ----------
        places : Tensor
            int64 ``[2, count]``, contiguous, on the device: rows, and levels from 0.
        """
        count = places.shape[1]
        digits = self.digits.new_empty((count, self.digits.shape[1]))
        if count:
            device = self._x.device
            SOURCE.launch("accelsim_write_further", device, self._operand, places, count, digits)
        return digits
