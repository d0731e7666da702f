"""Int8 Tensor Cores through CUTLASS: wgmma on Hopper, ``mma.sync`` on every other GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from gemm_backends.base import GemmBackend
from gemm_backends.cuda_int8 import PaddedDigits
from gemm_backends.cutlass_library import (
    Kernel,
    build_outcomes,
    cuda_availability,
    wanted_architectures,
)
from gemm_backends.operands import check_shapes
from gemm_backends.types import Accumulator, Action, Availability, GemmSpec, Outcome

ALIGNMENT = 16
"""K and every row start on this many bytes, which wide loads and TMA need."""

HOPPER = (
    Kernel("sm90_int8_large.cu", "accelsim_int8_sm90_large", (128, 256, 128)),
    Kernel("sm90_int8_medium.cu", "accelsim_int8_sm90_medium", (128, 128, 128)),
    Kernel("sm90_int8_small.cu", "accelsim_int8_sm90_small", (64, 64, 128)),
)
OTHERS = (
    Kernel("sm80_int8.cu", "accelsim_int8_sm80_large", (128, 256, 64)),
    Kernel("sm80_int8.cu", "accelsim_int8_sm80_small", (64, 64, 64)),
)
"""The kernels, from the largest to the smallest tile; the first one is the fastest per tile."""

DEQUANTIZING = Kernel("sm90_int8_large_bf16.cu", "accelsim_int8_sm90_large_bf16", (128, 256, 128))
"""Multiplies the sums by a float64 scale and rounds them to bfloat16 once, where wgmma exists."""

ROW_MULTIPLE = 4
"""Rows of the int32 result hold whole vectors of 16 bytes."""

TILES_FOR_LARGE = 100
"""A large tile pays off once there are this many of them to share out among the multiprocessors."""


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
        """Say whether there is a GPU, and a compiler for its kernels."""
        found = cuda_availability((8, 0))
        if found.available and self._instructions == "wgmma" and not has_wgmma():
            name = torch.cuda.get_device_name()
            return Availability(False, f"{name} has no wgmma instructions", device="cuda")
        return found

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates with the zeros that fill the tiles."""
        rows, columns, depth = select(self._kernels(), spec.n, spec.h, 1).tile
        return _up(spec.n, rows) * _up(spec.h, columns) * _up(spec.d, depth)

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
            select(self._kernels(), n, h, batch)(x, y, product, x.shape[-1])
        return shaped(product, a, b)

    def _kernels(self) -> Sequence[Kernel]:
        hopper = has_wgmma() if self._instructions == "auto" else self._instructions == "wgmma"
        return HOPPER if hopper else OTHERS

    @classmethod
    def actions(cls) -> Sequence[Action]:
        """Offer ``doctor --build``."""
        return (Action("doctor", "build", "Compile the CUDA kernels ahead of time.", cls._build),)

    @staticmethod
    def _build(backend: GemmBackend) -> Iterator[Outcome]:
        return build_for_gpus((*HOPPER, DEQUANTIZING, *OTHERS))


def has_wgmma() -> bool:
    """Whether the GPU has Hopper's warpgroup instructions, which no later one kept."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)


def select(kernels: Sequence[Kernel], n: int, h: int, batch: int) -> Kernel:
    """Choose the largest tile of which a product has enough to keep the GPU busy."""
    for kernel in kernels[:-1]:
        rows, columns, _ = kernel.tile
        fits = 2 * n > rows and 2 * h > columns
        if fits and batch * -(-n // rows) * -(-h // columns) >= TILES_FOR_LARGE:
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


def build_for_gpus(kernels: Sequence[Kernel]) -> Iterator[Outcome]:
    """Build the kernels that this machine's GPUs, or the architectures asked for, can run."""
    architectures = wanted_architectures()
    if not architectures:
        yield Outcome("build", "skipped", "there is no GPU; nothing was compiled")
    for architecture in architectures:
        usable = [k for k in kernels if architecture == "sm_90a" or "sm90" not in k.file]
        sources = list(dict.fromkeys(kernel.source for kernel in usable))
        yield from build_outcomes(sources, [architecture])


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
