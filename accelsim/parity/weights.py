"""The bytes of a model's weights under a treatment."""

from __future__ import annotations

from torch import Tensor, nn

from accelsim.arithmetic.rounding import quantize
from accelsim.integer_mode.converted.digits import stored
from accelsim.parity.treatments import Treatment

SCALE = 4
"""Bytes of a scale, a float32."""


def weight_bytes(model: nn.Module, treatment: Treatment) -> int:
    """Return the bytes of the weights of all linear layers that a treatment takes.

    Integers are kept as `accelsim.quantize_` does: in digits of 8 bits, or packed ones of 4, with
    their scales and what is above the digits. A weight that several layers share counts once; what
    stays in floats counts as it is.

    Parameters
    ----------
    model : nn.Module
        Any model.
    treatment : Treatment
        What is done with it; not torchao, whose weights count themselves.
    """
    total, seen = 0, set()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight.data_ptr() not in seen:
            seen.add(layer.weight.data_ptr())
            total += _bytes(layer.weight, name, treatment)
    return total


def _bytes(weight: Tensor, name: str, treatment: Treatment) -> int:
    taken = treatment.selection.wants_place(name, "linear")
    how = treatment.weights(name)
    if treatment.method in ("float", "clip") or not taken or how is None:
        return weight.nbytes
    bits = treatment.weight_bits(name)
    if treatment.group is not None:
        rows, d = weight.shape
        size = min(treatment.group, d)
        return rows * (-(-d * bits // 8) + -(-d // size) * SCALE)
    found = quantize(
        weight.detach(), how.percentile, how.beta, how.granularity, how.zero_alpha, name
    )
    return sum(tensor.nbytes for tensor in stored(found, bits).tensors.values())
