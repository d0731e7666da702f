"""The largest and the k-th largest magnitude of every group of entries, on any device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.arithmetic.exactly import magnitude_bits
from accelsim.arithmetic.percentile import (
    kth_largest_magnitude,
    kth_largest_magnitudes,
    largest_magnitude,
    largest_magnitudes,
)
from accelsim.kernels.nvcc import compiles_for
from accelsim.kernels.select import Selector, begin_select_rows, select_rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """The magnitudes of groups of entries on their way.

    Parameters
    ----------
    wait : callable
        What waits and returns float32 ``[2, groups]``: the percentile and the largest magnitude of
        each group; ``[3, groups]`` with `scales`, the scales below them. Where a group has NaN or
        infinity, its largest magnitude is one of them, and the others may be anything.
    scales : Tensor or None
        float32 ``[groups]`` on a GPU, which works out ``beta / (2 * alpha)`` without waiting: 1 for
        a group of zeros, NaN where it is not a positive finite float32. None where the host does.
    """

    wait: Callable[[], Floats]
    scales: Tensor | None = None


def rank(count: int, percentile: float) -> int:
    """Return k such that the k-th largest of `count` magnitudes is the percentile, exactly.

    Parameters
    ----------
    count : int
        Entries of the tensor or row.
    percentile : float
        In (0, 100].

    Examples
    --------
    >>> from accelsim.arithmetic.magnitudes import rank
    >>> rank(100, 95), rank(10, 95)
    (5, 1)
    """
    numerator, denominator = _share(percentile)
    return max(1, count * numerator // denominator)


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
    rows = x.reshape(x.shape[:-1].numel(), x.shape[-1]).contiguous()
    found = begin_search(rows, percentile).wait()[0]
    return torch.from_numpy(found).to(x.device).reshape(x.shape[:-1])


def begin_search(groups: Tensor, percentile: float, beta: float = 1.0) -> Search:
    """Search the percentile and the largest of the magnitudes of each group; on a GPU, queue that.

    Parameters
    ----------
    groups : Tensor
        float32 ``[groups, count]``, contiguous; empty ones give 0.
    percentile : float
        In (0, 100].
    beta : float
        For the scales.
    """
    if groups.numel() == 0:
        none = np.zeros((2, len(groups)), np.float32)
        return Search(lambda: none)
    k = rank(groups.shape[1], percentile)
    if groups.device.type == "cpu":
        known = _on_cpu(groups.numpy(), k)
        return Search(lambda: known)
    if not compiles_for(groups.device):
        bits = magnitude_bits(groups)
        smallest = bits.topk(k, dim=1, sorted=False).values.amin(dim=1)
        pair = torch.stack([smallest, bits.amax(dim=1)]).view(torch.float32)
        return Search(lambda: _on_host(pair))
    if len(groups) > 1:
        found, wait = begin_select_rows(groups, k, beta)
        return Search(wait, found[2])
    selector = Selector(groups.numel(), groups.device)
    answer = selector.begin(groups, k, beta)
    return Search(lambda: answer().reshape(3, 1), selector.scale)


def nonzero_alphas(groups: Tensor, percentile: float) -> Floats:
    """Return the percentile of the magnitudes that are not 0, of each group that has any.

    Parameters
    ----------
    groups : Tensor
        float32 ``[groups, count]``, without NaN.
    percentile : float
        Counted, in each group, among the entries that are not 0.
    """
    bits = magnitude_bits(groups)
    # At most as many different counts as groups, and each rank exact in decimals.
    counts, which = torch.unique((bits != 0).sum(dim=1).cpu(), return_inverse=True)
    ranks = torch.tensor([rank(x, percentile) for x in counts.tolist()], device="cpu")[which]
    ranks = ranks.to(groups.device)
    if compiles_for(groups.device):
        return np.asarray(_on_host(select_rows(groups.contiguous(), ranks))[0])
    ordered = bits.sort(dim=1, descending=True).values
    found = ordered.gather(1, ranks.unsqueeze(1) - 1).squeeze(1).cpu().view(torch.float32)
    return np.asarray(found.numpy())


def _on_cpu(groups: Floats, k: int) -> Floats:
    if len(groups) == 1:
        largest = largest_magnitude(groups)
        # The k-th largest is not needed where a group has NaN.
        known = k == 1 or not np.isfinite(largest)
        kth = largest if known else kth_largest_magnitude(groups, k)
        return np.array([kth, largest]).reshape(2, 1)
    peaks = largest_magnitudes(groups)
    return np.stack([peaks if k == 1 else kth_largest_magnitudes(groups, k), peaks])


def _on_host(pair: Tensor) -> Floats:
    return np.asarray(pair.cpu().numpy())


@functools.cache
def _share(percentile: float) -> tuple[int, int]:
    """Return the share of entries beyond a percentile, as it is written in decimals."""
    return ((100 - Decimal(str(percentile))) / 100).as_integer_ratio()
