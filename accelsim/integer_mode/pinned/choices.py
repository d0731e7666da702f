"""Operators that choose, order or count entries, with ties and sums settled the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

EXACT_IN_FLOAT32 = 1 << 24


def topk(
    self: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the k largest or smallest entries; of equal ones those that come first."""
    values, indices = torch.sort(self, stable=True, dim=dim, descending=largest)
    if not self.ndim:
        return values, indices
    return values.narrow(dim, 0, k).contiguous(), indices.narrow(dim, 0, k).contiguous()


def sort(
    self: Tensor, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """Sort, and leave equal entries in their order."""
    values, indices = torch.sort(self, stable=True, dim=dim, descending=descending)
    return values, indices


def argmax(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the place of the first of the largest entries, or of the first NaN."""
    if dim is None or not self.ndim:
        found = argmax(self.reshape(-1), 0)
        return found.reshape([1] * self.ndim) if keepdim else found
    chosen = self == self.amax(dim, keepdim=True)
    if self.is_floating_point():
        chosen |= self.isnan()
    size = self.shape[dim]
    shape = [1] * self.ndim
    shape[dim] = size
    places = torch.arange(size, device=self.device).reshape(shape)
    return torch.where(chosen, places, size).amin(dim, keepdim=keepdim)


def cumsum(self: Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """Add up whole numbers, as masks have them, whose sums a float32 holds exactly."""
    if self.is_floating_point():
        terms = self.double().abs()
        whole = bool((terms == terms.round()).all()) and float(terms.sum()) < EXACT_IN_FLOAT32
        if not whole or (dtype or self.dtype) in (torch.float16, torch.bfloat16):
            return NotImplemented
    return torch.cumsum(self, dim, dtype=dtype)


def histc(self: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """Count the entries of each bin."""
    if min >= max or not bool(self.isfinite().all()):
        return NotImplemented
    x = self.detach().double().reshape(-1)
    x = x[(x >= min) & (x <= max)]
    width = torch.full((), max - min, dtype=torch.float64, device=x.device)
    places = ((x - min) * bins / width).floor().to(torch.int64).clamp_max(bins - 1)
    counts = torch.zeros(bins, dtype=torch.int64, device=x.device)
    return counts.scatter_add_(0, places, torch.ones_like(places)).to(self.dtype)


CHOICES: dict[str, Callable[..., Any]] = {
    "topk": topk,
    "sort": sort,
    "argmax": argmax,
    "cumsum": cumsum,
    "histc": histc,
}
"""By name in the namespace aten; they take tensors of any type."""
