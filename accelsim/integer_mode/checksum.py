"""A checksum of a tensor's values and their places, which detects writes to its memory."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from accelsim.kernels.threads import over_lines

_WORD = 8
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def checksum(tensor: Tensor) -> int:
    """Return 64 bits that change when an entry does, or when entries change places.

    Parameters
    ----------
    tensor : Tensor
        On the CPU, of any strides. A view with the same entries in another order of dimensions has
        the same checksum, as it is the same memory.
    """
    whole = _in_memory_order(tensor.detach()).reshape(-1).view(torch.uint8).numpy()
    words = len(whole) // _WORD
    sums = over_lines(_mixed, words, _WORD, whole[: words * _WORD].view(np.uint64))
    rest = int.from_bytes(whole[words * _WORD :].tobytes(), "little")
    return (sum(map(int, sums)) ^ rest) & (2**64 - 1)


def _in_memory_order(tensor: Tensor) -> Tensor:
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=strides.__getitem__, reverse=True)
    return tensor.permute(order).contiguous()


@numba.njit(cache=True, nogil=True)
def _mixed(start: Any, stop: Any, words: Any) -> Any:
    """Sum words that were mixed with their places, modulo 2^64."""
    total = np.uint64(0)
    for place in range(start, stop):
        mixed = words[place] ^ (np.uint64(place + 1) * _FIRST)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _SECOND
        total += mixed ^ (mixed >> np.uint64(32))
    return total
