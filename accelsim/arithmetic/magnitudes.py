"""The largest and the k-th largest magnitude of every group of entries, on any device."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import torch
from torch import Tensor

from accelsim.arithmetic.exactly import magnitude_bits
from accelsim.arithmetic.percentile import (
    kth_largest_magnitude,
    kth_largest_magnitudes,
    largest_magnitude,
    largest_magnitudes,
)


def rank(count: int, percentile: float) -> int:
    """Return k such that the k-th largest of `count` magnitudes is the percentile, exactly."""
    return max(1, int(count * _share(percentile)))


def alpha(x: Tensor, percentile: float) -> Tensor:
    """Return the k-th largest magnitude of each row of `x`.

    Parameters
    ----------
    x : Tensor
        ``[..., count]``, float32, ``count`` at least 1.
    percentile : float
        In (0, 100]; ``k = max(1, floor(count * (100 - percentile) / 100))``.

    Returns
    -------
    Tensor
        ``[...]``, float32.
    """
    rows = x.reshape(-1, x.shape[-1])
    return kth_largest(rows, rank(x.shape[-1], percentile)).reshape(x.shape[:-1])


def alphas_and_peaks(groups: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Return the percentile and the largest of the magnitudes of each group, on the CPU.

    Parameters
    ----------
    groups : Tensor
        float32 ``[groups, count]``; empty ones give 0.
    percentile : float
        In (0, 100].

    Returns
    -------
    tuple of Tensor
        float32 ``[groups]``. Where a group has NaN or infinity, its largest magnitude is one of
        them, and its percentile may be anything.
    """
    if groups.numel() == 0:
        none = torch.zeros(len(groups), dtype=torch.float32, device="cpu")
        return none, none
    k = rank(groups.shape[1], percentile)
    if groups.device.type == "cpu":
        peaks = _peaks(groups)
        return peaks if k == 1 else kth_largest(groups, k), peaks
    bits = magnitude_bits(groups)
    found = torch.stack([_topk(bits, k), bits.amax(dim=1)]).cpu().view(torch.float32)
    return found[0], found[1]


def kth_largest(rows: Tensor, k: int) -> Tensor:
    """Return the k-th largest magnitude of each row of float32 ``[rows, count]``."""
    if rows.device.type != "cpu":
        return _topk(magnitude_bits(rows), k).view(torch.float32)
    array = rows.contiguous().numpy()
    if k == 1:
        return _peaks(rows)
    if len(rows) == 1:
        found = kth_largest_magnitude(array, k)
        return torch.full((1,), found, dtype=torch.float32, device="cpu")
    return torch.from_numpy(kth_largest_magnitudes(array, k))


def _peaks(rows: Tensor) -> Tensor:
    array = rows.contiguous().numpy()
    if len(array) == 1:
        return torch.full((1,), largest_magnitude(array), dtype=torch.float32, device="cpu")
    return torch.from_numpy(largest_magnitudes(array))


def _topk(bits: Tensor, k: int) -> Tensor:
    return bits.topk(k, dim=1, sorted=False).values.amin(dim=1)


def nonzero_alpha(rows: Tensor, percentile: float) -> Tensor:
    """Return the percentile of the magnitudes that are not 0, of each row that has any.

    Parameters
    ----------
    rows : Tensor
        float32 ``[rows, count]``, without NaN.
    percentile : float
        Counted, in each row, among the entries that are not 0.
    """
    ordered = magnitude_bits(rows).sort(dim=1, descending=True).values
    present = (ordered != 0).sum(dim=1)
    share = _share(percentile)
    # At most as many different counts as rows, and each rank exact in decimals.
    counts, which = torch.unique(present, return_inverse=True)
    ranks = torch.tensor(
        [max(1, int(count * share)) for count in counts.tolist()], device=rows.device
    )
    return ordered.gather(1, ranks[which].unsqueeze(1) - 1).squeeze(1).view(torch.float32)


def _share(percentile: float) -> Fraction:
    return Fraction((100 - Decimal(str(percentile))) / 100)
