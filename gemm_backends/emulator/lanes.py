"""The contribution of correction lanes to the sums of an array, modulo 2^64."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.corrections import Corrections, HighDigits
from gemm_backends.cpu.sparse import sparse_product

INT64_BITS = 64


def corrected_by(a: Tensor, b: Tensor, corrections: Corrections) -> Tensor:
    """Return ``(A0 + A') (B0 + B')^T - A0 B0^T``, ``[n, h]`` int64 modulo 2^64.

    Parameters
    ----------
    a, b : Tensor
        The low digits A0 ``[n, d]`` and B0 ``[h, d]``.
    corrections : Corrections
        The high digits A' and B'.
    """
    of_a = _gathered(_times(corrections.a, b), corrections.a, len(a))
    of_b = _gathered(_times(corrections.b, a), corrections.b, len(b)).T
    pairs = _gathered(_times(corrections.a, corrections.b.digits), corrections.a, len(a))
    return of_a + of_b + _gathered(pairs.T, corrections.b, len(b)).T


def _times(high: HighDigits, other: Tensor | SparseDigits) -> Tensor:
    """Return the sums of a line's products, ``[lines, rows of the other]``."""
    return sparse_product(high.digits, other, torch.int64)


def _gathered(sums: Tensor, high: HighDigits, rows: int) -> Tensor:
    """Shift the sums of every line, and add them up in the row that it belongs to."""
    exponent = high.exponent.unsqueeze(1)
    shifted = torch.where(exponent < INT64_BITS, sums << exponent.clamp(max=INT64_BITS - 1), 0)
    total = torch.zeros((rows, sums.shape[1]), dtype=torch.int64, device=sums.device)
    return total.index_add_(0, high.index, shifted)
