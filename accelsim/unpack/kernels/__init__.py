"""The kernels that count, write and add up digits: one kind for each sort of device."""

from __future__ import annotations

from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import Quantized
from accelsim.unpack.kernels.cpu import CpuKernels
from accelsim.unpack.kernels.cuda import CudaKernels
from accelsim.unpack.kernels.generic import GenericKernels
from accelsim.unpack.kernels.protocol import Kernels, Survey

__all__ = ["CudaKernels", "Kernels", "Survey", "kernels_for"]


def kernels_for(operand: Tensor | Quantized, system: DigitSystem) -> Kernels:
    """Return the kernels that count and write the digits of an operand on its device.

    Parameters
    ----------
    operand : Tensor or Quantized
        Integers ``[n, d]`` or ``[batch, n, d]`` of magnitudes below 2^62, or floats with their
        scale.
    system : DigitSystem
        The digits to write it in.

    Raises
    ------
    DataError
        If an integer is not below 2^62.
    """
    tensor = operand.operand if isinstance(operand, Quantized) else operand
    if tensor.device.type == "cpu":
        return CpuKernels(operand, system)
    if isinstance(operand, Quantized) and CudaKernels.write(operand, system):
        return CudaKernels(operand, system)
    return GenericKernels(operand, system)
