"""Int4 Tensor Cores through CUTLASS: ``mma.sync`` on digits packed two to a byte."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from gemm_backends.base import GemmBackend
from gemm_backends.cuda.cutlass_kernels import (
    ROW_MULTIPLE,
    flat_operands,
    kernel_for,
    shaped,
)
from gemm_backends.cuda.cutlass_library import Kernel, cuda_availability
from gemm_backends.cuda.int8 import PaddedDigits
from gemm_backends.operands import check_shapes
from gemm_backends.types import Accumulator, Availability, GemmSpec

KERNELS = (
    Kernel("sm80_int4.cu", "accelsim_int4_sm80_large", (128, 256, 128), least_tiles=100),
    Kernel("sm80_int4.cu", "accelsim_int4_sm80_small", (64, 64, 128)),
)

ALIGNMENT = 32
"""Digits in the 16 bytes on which every row starts."""

EMULATED = (
    "compute capability {}.{} has no int4 instruction: the compiler emulates it with int8 ones, "
    "which takes some 20 times as long as int8 itself"
)


class CutlassInt4(GemmBackend):
    """Int4 by int4 into int32, saturating, on a CUDA device, with CUTLASS kernels.

    GPUs of compute capability 8.x multiply 4-bit digits natively. From 9.0 on there is no such
    instruction and nvcc writes an emulation, which `availability` calls ``emulated``. K is padded
    with zeros to a multiple of 32.
    """

    name = "cutlass-int4"
    bits = 4
    accumulator = Accumulator(bits=32, overflow="saturate")
    batched = True

    def availability(self) -> Availability:
        """Return whether there is a GPU, a compiler for its kernels, and int4 in its hardware."""
        found = cuda_availability((8, 0))
        if not found.available:
            return found
        capability = torch.cuda.get_device_capability()
        if is_native(capability):
            return found
        return Availability(True, EMULATED.format(*capability), "emulated", "cuda")

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates with the zeros that fill the tiles."""
        sizes = spec.n, spec.h, spec.d
        kernel = kernel_for(KERNELS, spec.n, spec.h, spec.d // 2, 1)
        rows, columns, depth = (
            -(-size // tile) * tile for size, tile in zip(sizes, kernel.tile, strict=True)
        )
        return rows * columns * depth

    def prepare(self, digits: Tensor) -> PaddedDigits:
        """Copy ``[..., rows, d]`` int8 to the GPU and pack two digits to a byte.

        Raises
        ------
        ValueError
            If a digit has more than 4 bits. Finding that out waits for the GPU.
        """
        shape = digits.shape
        digits = pad(digits.cuda(), (0, 0, 0, -shape[-2] % ROW_MULTIPLE)).contiguous()
        *rows, d = digits.shape
        words = -(-d // ALIGNMENT) * ALIGNMENT // 8
        packed = torch.empty((*rows, 4 * words), dtype=torch.int8, device=digits.device)
        count = torch.Size(rows).numel()
        too_wide = torch.zeros((), dtype=torch.int32, device=digits.device)
        KERNELS[0].source.launch(
            "accelsim_pack_int4", digits.device, digits, packed, count, d, words, too_wide
        )
        if too_wide:
            raise ValueError("a digit has more than 4 bits")
        return PaddedDigits(packed, shape)

    def matmul(self, a: Tensor | PaddedDigits, b: Tensor | PaddedDigits) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int32."""
        a = self.prepare(a) if isinstance(a, Tensor) else a
        b = self.prepare(b) if isinstance(b, Tensor) else b
        check_shapes(a.shape, b.shape)
        x, y, product = flat_operands(a, b)
        if product.numel() and x.shape[-1]:
            batch, n, h = product.shape
            row_bytes = x.shape[-1]
            kernel = kernel_for(KERNELS, n, h, row_bytes, batch)
            kernel(x, y, product, 2 * row_bytes, elements_per_byte=2)
        return shaped(product, a, b)


def is_native(capability: tuple[int, int]) -> bool:
    """Whether GPUs of a compute capability multiply 4-bit digits in hardware.

    ``mma.sync`` with 4-bit operands becomes ``IMMA.16864.S4`` in the SASS of sm_80, sm_86 and
    sm_89; for sm_90 and later nvcc emulates it.
    """
    return (7, 5) <= capability < (9, 0)
