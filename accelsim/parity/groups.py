"""Scales for groups of K, as other integer kernels have them, for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from accelsim.arithmetic.rounding import check_type, quantize
from accelsim.errors import DataError, UnsupportedError
from accelsim.integer_mode.replacing import ALL, Replacing, Selection, macs
from accelsim.integer_mode.tally import Tally
from workloads.tracing import GemmCall

EXACT = {torch.float32: 24, torch.float64: 53}
"""Float types, and the bits of the largest integer up to which they hold all."""


def absmax_beta(bits: int) -> int:
    """Return the β by which the largest magnitude becomes the largest symmetric integer."""
    return (1 << bits) - 2


@dataclass(frozen=True)
class Grouped:
    """An operand in integers, with a scale for each row and group of columns.

    Parameters
    ----------
    integers : Tensor
        ``[..., rows, groups, size]`` in a float type that holds sums of their products exactly.
    scales : Tensor
        float32 ``[..., rows, groups]``.
    """

    integers: Tensor
    scales: Tensor

    @classmethod
    def of(cls, x: Tensor, size: int, bits: int, dtype: torch.dtype, name: str) -> Grouped:
        """Round an operand ``[..., rows, d]`` so that the largest of each group fits b bits.

        Columns that the last group lacks are zeros.
        """
        check_type(x, name)
        padded = pad(x.detach().float(), (0, -x.shape[-1] % size))
        parts = padded.reshape(*padded.shape[:-1], -1, size)
        found = quantize(parts.flatten(0, -2), 100, absmax_beta(bits), "row", "nonzero", name)
        if found.scale_exponent:
            raise DataError(f"{name}: a scale is beyond float32")
        return cls(
            found.values.to(dtype).reshape(parts.shape),
            found.scale.reshape(parts.shape[:-1]),
        )


def exact_type(size: int, bits: int) -> torch.dtype:
    """Return a float type in which sums of products of the integers of a group are exact.

    Raises
    ------
    UnsupportedError
        If there is none.
    """
    most = size * (absmax_beta(bits) // 2) ** 2
    for dtype, digits in EXACT.items():
        if most <= 1 << digits:
            return dtype
    raise UnsupportedError(f"sums of {size} products of {bits} bits do not fit float64")


def grouped_product(a: Grouped, b: Grouped) -> Tensor:
    """Return ``A @ B.T`` in float32.

    The integer product of each group is exact; those of the groups, over their scales, are added
    in float32 one after the other.
    """
    result: Tensor | None = None
    for group in range(a.integers.shape[-2]):
        product = a.integers[..., group, :] @ b.integers[..., group, :].mT
        scales = a.scales[..., group, None] * b.scales[..., None, :, group]
        part = product.float() / scales
        result = part if result is None else result + part
    assert result is not None, "an empty K was handled before"
    return result


class GroupedGemms(Replacing):
    """Computes every chosen GEMM in integers of b bits with a scale for each group of K.

    Parameters
    ----------
    model : nn.Module
        Any model.
    size : int
        Columns of a group.
    bits : int
        Of the integers, which are symmetric: the largest magnitude of a group is the largest.
    selection : Selection
        Which GEMMs.

    Attributes
    ----------
    tally : Tally
        What was multiplied so far.
    """

    def __init__(self, model: nn.Module, size: int, bits: int, selection: Selection = ALL) -> None:
        super().__init__(model, selection)
        self._size, self._bits, self._type = size, bits, exact_type(size, bits)
        self.tally = Tally(self.left, self.not_chosen)

    def product(self, call: GemmCall) -> Tensor:
        """Return the product in the type of A."""
        a, b = call.a, call.b
        if not a.numel() or not b.numel():
            return a @ b.mT
        size = min(self._size, a.shape[-1])
        operands = (
            Grouped.of(x, size, self._bits, self._type, f"{call.name} ({side})")
            for side, x in (("A", a), ("B", b))
        )
        result = grouped_product(*operands).to(a.dtype)
        work = macs(call)
        self.tally.add(call, unpacked=1, unpacked_macs=work, low_bit_macs=work)
        return result
