"""The size of quantized weights under an entropy code."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accelsim.arithmetic.rounding import quantize
from accelsim.types import Rounding


@dataclass(frozen=True)
class Storage:
    """Bits of integers under the best code of one symbol at a time, and the bound for any.

    Parameters
    ----------
    parameters : int
        How many integers there are.
    huffman_bits : int
        Their bits in Huffman codes, one code for each tensor; the code tables are not counted.
    entropy_bits : float
        The empirical entropy of every tensor times its size: no code of single symbols is shorter.
    """

    parameters: int = 0
    huffman_bits: int = 0
    entropy_bits: float = 0.0

    def __add__(self, other: Storage) -> Storage:
        return Storage(
            self.parameters + other.parameters,
            self.huffman_bits + other.huffman_bits,
            self.entropy_bits + other.entropy_bits,
        )

    def summary(self) -> dict[str, float]:
        """Return both in bits per parameter."""
        count = max(1, self.parameters)
        return {
            "parameters": self.parameters,
            "huffman_bits_per_parameter": self.huffman_bits / count,
            "entropy_bits_per_parameter": self.entropy_bits / count,
        }


def storage(integers: Tensor) -> Storage:
    """Return what the integers of one tensor take.

    Parameters
    ----------
    integers : Tensor
        Any shape and integer type.

    Notes
    -----
    Huffman, "A method for the construction of minimum-redundancy codes", Proc. IRE 40(9), 1952.
    The code's length is the sum of the weights of the inner nodes of its tree. A tensor of one
    value takes one bit an entry.
    """
    counts = torch.unique(integers, return_counts=True)[1].tolist()
    total = sum(counts)
    if len(counts) < 2:
        return Storage(total, total, 0.0)
    entropy = -sum(count * math.log2(count / total) for count in counts)
    bits = 0
    heapq.heapify(counts)
    while len(counts) > 1:
        merged = heapq.heappop(counts) + heapq.heappop(counts)
        bits += merged
        heapq.heappush(counts, merged)
    return Storage(total, bits, entropy)


def weight_storage(
    model: nn.Module, rounding: Rounding | Callable[[str], Rounding | None]
) -> Storage:
    """Return what the weights of all linear layers take, each tensor quantized by itself.

    A weight that several layers share counts once, as the first of them has it.

    Parameters
    ----------
    model : nn.Module
        Any model.
    rounding : Rounding or callable
        How all are rounded; or, called with the name of a layer, how its weight is, None for one
        that is left out.
    """
    weights: dict[int, tuple[Tensor, Rounding]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight.data_ptr() not in weights:
            how = rounding if isinstance(rounding, Rounding) else rounding(name)
            if how is not None:
                weights[layer.weight.data_ptr()] = layer.weight.detach(), how
    quantized = (
        quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha).values
        for x, how in weights.values()
    )
    return sum(map(storage, quantized), Storage())
