"""A checksum of a tensor's values and their places, which detects writes to its memory."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from accelsim.kernels.threads import over_lines

CHUNK = 1 << 22
"""Words that are mixed at a time on a GPU, where each step needs memory for its result."""

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


def checksum_there(tensor: Tensor) -> Tensor:
    """Return what `checksum` does, worked out on the tensor's own device without waiting for it.

    Parameters
    ----------
    tensor : Tensor
        On any device, of any strides.

    Returns
    -------
    Tensor
        A scalar of int64 with the same 64 bits.
    """
    whole = _in_memory_order(tensor.detach()).reshape(-1).view(torch.uint8)
    words = len(whole) // _WORD
    if whole.storage_offset() % _WORD:
        whole = whole.clone()
    first, second = (int(factor.view(np.int64)) for factor in (_FIRST, _SECOND))
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for start in range(0, words, CHUNK):
        stop = min(start + CHUNK, words)
        places = torch.arange(start + 1, stop + 1, device=tensor.device)
        mixed = whole[start * _WORD : stop * _WORD].view(torch.int64) ^ (places * first)
        mixed = (mixed ^ _shifted(mixed, 29)) * second
        total += (mixed ^ _shifted(mixed, 32)).sum()
    for place, byte in enumerate(whole[words * _WORD :]):
        total ^= byte.to(torch.int64) << (8 * place)
    return total


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shift to the right, filling with zeros."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


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
