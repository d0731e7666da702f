"""The CUTLASS kernels that exist, which of them suits a shape, and operands as they take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from accelsim.kernels.nvcc import CudaSource
from gemm_backends.actions import Outcome
from gemm_backends.cuda.cutlass_library import (
    Kernel,
    build_outcomes,
    stays_cached,
    wanted_architectures,
)
from gemm_backends.cuda.int8 import PaddedDigits

SQUARE = (128, 128, 128)

HOPPER = (
    Kernel("sm90_int8_broad.cu", "accelsim_int8_sm90_broad", SQUARE, least_tiles=1000, cached=True),
    Kernel("sm90_int8_large.cu", "accelsim_int8_sm90_large", SQUARE, least_tiles=256),
    Kernel("sm90_int8_medium.cu", "accelsim_int8_sm90_medium", SQUARE, least_tiles=100),
    Kernel("sm90_int8_small.cu", "accelsim_int8_sm90_small", (64, 64, 128)),
)
OTHERS = (
    Kernel("sm80_int8.cu", "accelsim_int8_sm80_large", (128, 256, 64), least_tiles=100),
    Kernel("sm80_int8.cu", "accelsim_int8_sm80_small", (64, 64, 64)),
)
"""The kernels, largest result first."""

DEQUANTIZING = Kernel("sm90_int8_large_bf16.cu", "accelsim_int8_sm90_large_bf16", (128, 256, 128))
"""Divides the sums by a float64 scale and rounds them to bfloat16 once, where wgmma exists."""

ROW_MULTIPLE = 4
"""Rows of the int32 result hold whole vectors of 16 bytes."""


def has_wgmma() -> bool:
    """Whether the GPU has Hopper's warpgroup instructions, which no later one kept."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)


def kernel_for(kernels: Sequence[Kernel], n: int, h: int, row_bytes: int, batch: int) -> Kernel:
    """Choose the first kernel of whose tiles a product has enough to keep the GPU busy.

    Parameters
    ----------
    kernels : sequence of Kernel
        Largest result first.
    n, h : int
        Rows and columns of C.
    row_bytes : int
        Bytes of a row of A or B.
    batch : int
        Products.
    """
    for kernel in kernels[:-1]:
        rows, columns, _ = kernel.tile
        fits = (
            2 * n > rows
            and 2 * h > columns
            and (not kernel.cached or stays_cached(n, h, row_bytes))
        )
        if fits and batch * -(-n // rows) * -(-h // columns) >= kernel.least_tiles:
            return kernel
    return kernels[-1]


def flat_operands(a: PaddedDigits, b: PaddedDigits) -> tuple[Tensor, Tensor, Tensor]:
    """Return A and B as ``[batch, rows, bytes]`` and an int32 result ``[batch, n, h]``.

    B and the columns of the result are those of the padded digits. The result holds zeros where K
    is 0, and is uninitialised elsewhere.
    """
    batch, n = a.shape[:-2].numel(), a.shape[-2]
    x, y = (o.digits.reshape(batch, *o.digits.shape[-2:]) for o in (a, b))
    create = torch.empty if x.shape[-1] else torch.zeros
    product = create((batch, n, y.shape[1]), dtype=torch.int32, device=x.device)
    return x[:, :n], y, product


def shaped(product: Tensor, a: PaddedDigits, b: PaddedDigits) -> Tensor:
    """Return the result without padding and with the batch dimensions of the operands."""
    h = b.shape[-2]
    return product[..., :h].reshape(*a.shape[:-1], h)


def build_for_gpus(
    kernels: Sequence[Kernel], on_hopper: Sequence[CudaSource] = ()
) -> Iterator[Outcome]:
    """Build the kernels that this machine's GPUs, or the architectures asked for, can run.

    Parameters
    ----------
    kernels : sequence of Kernel
        GEMMs.
    on_hopper : sequence of CudaSource
        Further kernels that are built for devices with wgmma.
    """
    architectures = wanted_architectures()
    if not architectures:
        yield Outcome("build", "skipped", "there is no GPU; nothing was compiled")
    for architecture in architectures:
        usable = [k for k in kernels if architecture == "sm_90a" or "sm90" not in k.file]
        sources = list(dict.fromkeys(kernel.source for kernel in usable))
        if architecture == "sm_90a":
            sources += on_hopper
        yield from build_outcomes(sources, [architecture])
