"""Int8 Tensor Cores through ``torch._int_mm``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from accelsim.arithmetic.bounds import round_up
from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.base import GemmBackend
from gemm_backends.cpu.sparse import sparse_product
from gemm_backends.operands import check_shapes, each_matrix
from gemm_backends.types import Accumulator, Availability, GemmSpec

DEPTH_MULTIPLE = 8
"""``torch._int_mm`` wants K in multiples of this."""

ROW_MULTIPLE = 16
"""It takes rows of B in multiples of 8, but cuBLASLt has no kernel for some of these (4096 by 4088
with K = 32, say); of 1,200 random shapes in multiples of 16 it took every one."""

MIN_ROWS_OF_A = 32
"""It wants more than 16 rows of A; this is the next multiple of `ROW_MULTIPLE`."""


@dataclass(frozen=True)
class PaddedDigits:
    """Digits with zeros appended.

    Parameters
    ----------
    digits : Tensor
        ``[..., rows + r, d + p]`` int8, contiguous.
    shape : torch.Size
        Shape before padding, ``[..., rows, d]``.
    """

    digits: Tensor
    shape: torch.Size


class CudaInt8(GemmBackend):
    """Int8 by int8 into int32 on a CUDA device.

    Operands are padded with zeros to the shapes that ``torch._int_mm`` takes (more than 16 rows of
    A, rows in multiples of 16 and K in multiples of 8); the padding counts in `executed_macs`. Sums
    that do not fit 32 bits wrap in some of the kernels that cuBLAS chooses from and saturate in
    others.
    """

    name = "cuda-int8"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="undefined")
    batched = True

    def availability(self) -> Availability:
        """Return whether there is an NVIDIA GPU with int8 Tensor Cores."""
        if torch.version.cuda is None:
            reason = f"torch {torch.__version__} is built without CUDA; install a CUDA build of it"
            return Availability(False, reason, device="cuda")
        if not torch.cuda.is_available():
            return Availability(False, "torch finds no CUDA device", device="cuda")
        if torch.cuda.get_device_capability() < (7, 5):
            name = torch.cuda.get_device_name()
            return Availability(False, f"{name} has no int8 Tensor Cores", device="cuda")
        return Availability(True, execution="native", device="cuda")

    def executed_macs(self, spec: GemmSpec) -> int:
        """Return the multiply-accumulates with all padding."""
        n = max(MIN_ROWS_OF_A, round_up(spec.n, ROW_MULTIPLE))
        return n * _wanted_d(spec.d) * _wanted_h(spec.h)

    def prepare(self, digits: Tensor) -> PaddedDigits:
        """Copy ``[..., rows, d]`` int8 to the GPU and pad it, enough for either side."""
        rows, d = digits.shape[-2:]
        wanted_rows = max(MIN_ROWS_OF_A, round_up(rows, ROW_MULTIPLE))
        padded = pad(digits.cuda(), (0, _wanted_d(d) - d, 0, wanted_rows - rows))
        return PaddedDigits(padded.contiguous(), digits.shape)

    def matmul(self, a: Tensor | PaddedDigits, b: Tensor | PaddedDigits) -> Tensor:
        """Multiply ``[..., n, d]`` by ``[..., h, d]`` into ``[..., n, h]`` int32."""
        a = self.prepare(a) if isinstance(a, Tensor) else a
        b = self.prepare(b) if isinstance(b, Tensor) else b
        check_shapes(a.shape, b.shape)
        n, h = a.shape[-2], b.shape[-2]
        padded = each_matrix(
            lambda x, y: torch._int_mm(x, y.T), a.digits, b.digits[..., : _wanted_h(h), :]
        )
        return padded[..., :n, :h]

    def sparse_matmul(self, a: SparseDigits, b: Tensor | SparseDigits) -> Tensor:
        """Multiply ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32, by the CUDA cores."""
        return sparse_product(a, b, torch.int32)


def _wanted_d(d: int) -> int:
    return max(DEPTH_MULTIPLE, round_up(d, DEPTH_MULTIPLE))


def _wanted_h(h: int) -> int:
    return max(ROW_MULTIPLE, round_up(h, ROW_MULTIPLE))
