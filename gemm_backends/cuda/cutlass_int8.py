"""Int8 Tensor Cores through CUTLASS: wgmma on Hopper, ``mma.sync`` on every other GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from accelsim.arithmetic.bounds import round_up
from accelsim.types import Request, Route
from gemm_backends.base import GemmBackend
from gemm_backends.cuda.cutlass_kernels import (
    HOPPER,
    OTHERS,
    ROW_MULTIPLE,
    flat_operands,
    has_wgmma,
    kernel_for,
    shaped,
)
from gemm_backends.cuda.cutlass_library import Kernel, cuda_availability
from gemm_backends.cuda.fused.offer import offer
from gemm_backends.cuda.int8 import PaddedDigits
from gemm_backends.operands import check_shapes
from gemm_backends.types import Accumulator, Availability, GemmSpec, Support

ALIGNMENT = 16
"""K and every row start on this many bytes, which wide loads and TMA need."""


class CutlassInt8(GemmBackend):
    """Int8 by int8 into int32 on a CUDA device, with CUTLASS kernels.

    On compute capability 9.0 operands are loaded by TMA and multiplied by warp-specialized wgmma,
    whose sums wrap; everywhere else, by ``mma.sync``, whose sums saturate. K is padded with zeros
    to a multiple of 16. The kernels are compiled at first use (`accelsim doctor --build` does it
    ahead).

    Parameters
    ----------
    instructions : {"auto", "wgmma", "mma"}
        Which Tensor Core instructions to use; ``wgmma`` exists on compute capability 9.0 alone.
    """

    name = "cutlass-int8"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")
    batched = True

    def __init__(self, instructions: str = "auto") -> None:
        if instructions not in ("auto", "wgmma", "mma"):
            raise ValueError(f"instructions: found {instructions!r}; allowed: auto, wgmma, mma")
        self._instructions = instructions
        if self._kernels() is not HOPPER:
            self.accumulator = Accumulator(bits=32, overflow="saturate")

    def availability(self) -> Availability:
        """Return whether there is a GPU, and a compiler for its kernels."""
        found = cuda_availability((8, 0))
        if found.available and self._instructions == "wgmma" and not has_wgmma():
            name = torch.cuda.get_device_name()
            return Availability(False, f"{name} has no wgmma instructions", device="cuda")
        return found

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates with the zeros that fill the tiles."""
        rows, columns, depth = kernel_for(self._kernels(), spec.n, spec.h, spec.d, 1).tile
        return round_up(spec.n, rows) * round_up(spec.h, columns) * round_up(spec.d, depth)

    def prepare(self, digits: Tensor) -> PaddedDigits:
        """Copy ``[..., rows, d]`` int8 to the GPU; pad K to multiples of 16, rows to those of 4."""
        rows, d = digits.shape[-2:]
        padded = pad(digits.cuda(), (0, -d % ALIGNMENT, 0, -rows % ROW_MULTIPLE))
        return PaddedDigits(padded.contiguous(), digits.shape)

    def matmul(self, a: Tensor | PaddedDigits, b: Tensor | PaddedDigits) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int32."""
        a = self.prepare(a) if isinstance(a, Tensor) else a
        b = self.prepare(b) if isinstance(b, Tensor) else b
        check_shapes(a.shape, b.shape)
        x, y, product = flat_operands(a, b)
        batch, n, h = product.shape
        if product.numel() and x.shape[-1]:
            d = x.shape[-1]
            kernel_for(self._kernels(), n, h, d, batch)(x, y, product, d)
        return shaped(product, a, b)

    def fused(self, request: Request) -> Route | Support:
        """Offer the way from float operands to the exact product that Hopper GPUs have."""
        if self._kernels() is not HOPPER:
            return Support(False, "the fused route needs wgmma instructions")
        return offer(request)

    def _kernels(self) -> Sequence[Kernel]:
        hopper = has_wgmma() if self._instructions == "auto" else self._instructions == "wgmma"
        return HOPPER if hopper else OTHERS
