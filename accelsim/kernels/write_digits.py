"""Round an operand and write its rows in digits on the GPU."""

from __future__ import annotations

import ctypes

from torch import Tensor

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


class DigitWriter:
    """Writes digits of ``rint(x * scale)``; the last of an entry is as its low ones are.

    Parameters
    ----------
    x : Tensor
        ``[rows, d]`` float32, contiguous, on a CUDA device, with entries. Every integer is below
        2^31.
    scale : Tensor
        float32: a scalar, or ``[rows]``.
    shift : int
        The radix is ``2**shift``, at most 2^8.
    lowest : int
        The smallest digit; the largest is ``lowest + 2**shift - 1``.

    Attributes
    ----------
    stride : int
        Digits from one row to the next.
    """

    def __init__(self, x: Tensor, scale: Tensor, shift: int, lowest: int) -> None:
        self._x, self._scale = x, scale
        self.stride = -(-x.shape[1] // ALIGNMENT) * ALIGNMENT
        aligned = x.data_ptr() % 16 == 0 and x.shape[1] % 4 == 0
        step = 0 if scale.ndim == 0 else scale.stride(0)
        self._operand = _Operand(
            x.data_ptr(), x.shape[1], scale.data_ptr(), step, self.stride, shift, lowest, aligned
        )

    def lowest(self, digits: Tensor, found: Tensor) -> None:
        """Queue the pass that writes the lowest digits of all rows.

        Parameters
        ----------
        digits : Tensor
            int8 ``[rows, stride]`` to write to.
        found : Tensor
            int32 ``[2, rows]`` to write to: how many digits each row needs, and how many of its
            entries do not fit one.
        """
        rows = self._x.shape[0]
        SOURCE.launch("accelsim_write_lowest", self._x.device, self._operand, rows, digits, found)

    def further(self, places: Tensor, digits: Tensor) -> None:
        """Queue the pass that writes chosen rows at chosen levels.

        Parameters
        ----------
        places : Tensor
            int64 ``[2, count]``: rows, and levels from 0.
        digits : Tensor
            int8 ``[count, stride]`` to write to.
        """
        count = places.shape[1]
        if count:
            device = self._x.device
            SOURCE.launch("accelsim_write_further", device, self._operand, places, count, digits)
