"""PyTorch's own matrix multiplication in the usual floating-point types."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from accelsim.arithmetic.precision import float32_precision
from gemm_backends.baselines.base import Baseline, needs_gpu
from gemm_backends.types import Availability


class _Float(Baseline):
    """A matrix multiplication whose operands and result have one type.

    Attributes
    ----------
    dtype : torch.dtype
        That type.
    """

    dtype: ClassVar[torch.dtype]

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            return Availability(False, "there is no CUDA device", device=device)
        return Availability(True, device=device)

    def prepare(self, operand: Tensor) -> Tensor:
        """Convert an operand to `dtype`."""
        return operand.to(self.dtype)

    def matmul(self, a: Any, b: Any) -> Tensor:
        """Multiply two operands; see `Baseline.matmul`."""
        product: Tensor = self.prepare(a) @ self.prepare(b).mT
        return product


class Fp64(_Float):
    """float64."""

    name = "fp64"
    dtype = torch.float64


class Bf16(_Float):
    """bfloat16."""

    name = "bf16"
    dtype = torch.bfloat16


class Fp16(_Float):
    """float16."""

    name = "fp16"
    dtype = torch.float16


class Fp32(_Float):
    """float32, regardless of the precision that the process allows."""

    name = "fp32"
    dtype = torch.float32
    tf32: ClassVar[bool] = False

    def matmul(self, a: Any, b: Any) -> Tensor:
        """Multiply two operands; see `Baseline.matmul`."""
        with float32_precision(a.device, self.tf32):
            return super().matmul(a, b)


class Tf32(Fp32):
    """float32 operands that the multipliers of an NVIDIA GPU round to TF32."""

    name = "tf32"
    tf32 = True

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        return needs_gpu("TF32", (8, 0), device)
