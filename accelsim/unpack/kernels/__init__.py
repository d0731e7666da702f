"""The kernels that count, write and add up digits: one kind for each sort of device."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import Quantized, Quantizing
from accelsim.unpack.kernels.cpu import CpuKernels
from accelsim.unpack.kernels.cuda import CudaKernels, Written, begin_writing, writes
from accelsim.unpack.kernels.generic import GenericKernels
from accelsim.unpack.kernels.protocol import Kernels, Survey

__all__ = ["CudaKernels", "Kernels", "Survey", "Written", "begin_kernels", "kernels_for"]


def begin_kernels(quantizing: Quantizing, system: DigitSystem) -> Written | None:
    """Queue what writes the digits of an operand whose scale only the device knows so far.

    Returns
    -------
    Written or None
        For `kernels_for`; None where nothing is queued.
    """
    operand, scale = quantizing.operand, quantizing.scale
    if scale is None or not writes(operand, system):
        return None
    return begin_writing(operand, scale, system)


def kernels_for(
    operand: Tensor | Quantized, system: DigitSystem, ahead: Written | None = None
) -> Kernels:
    """Return the kernels that count and write the digits of an operand on its device.

    Parameters
    ----------
    operand : Tensor or Quantized
        Integers ``[n, d]`` or ``[batch, n, d]`` of magnitudes below 2^62, or floats with their
        scale.
    system : DigitSystem
        The digits to write it in.
    ahead : Written or None
        What `begin_kernels` queued.

    Raises
    ------
    DataError
        If an integer is not below 2^62.
    """
    tensor = operand.operand if isinstance(operand, Quantized) else operand
    if tensor.device.type == "cpu":
        return CpuKernels(operand, system)
    if not isinstance(operand, Quantized) or operand.dtype != torch.int32:
        return GenericKernels(operand, system)
    if not writes(operand.operand, system):
        return GenericKernels(operand, system)
    return CudaKernels(operand, system, ahead)
