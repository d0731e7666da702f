"""The integers of a weight as they are kept: planes of digits, and a list of what is above them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import Quantized

NIBBLE: Final = 4
BYTE: Final = 8

NAMES = ("weight", "weight_scale", "weight_exponent", "weight_offsets", "weight_columns",
         "weight_values")  # fmt: skip
"""The tensors of a weight in a module and in its ``state_dict``."""

_COLUMN = torch.int32.itemsize
_VALUES = (torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class StoredWeight:
    """A weight ``[h, d]``, rounded: low digits of all entries and, sparse, what is above them.

    Parameters
    ----------
    digits : Tensor
        Planes of balanced digits below each other, the lowest first: ``[planes * h, d]`` int8, or
        ``[planes * h, ceil(d / 2)]`` uint8 with two digits of 4 bits in a byte, the first one low.
    scale : Tensor
        float32: a scalar, or ``[h, 1]``.
    exponent : Tensor
        int64 scalar: the weight was multiplied by this power of two before it was rounded.
    offsets, columns, values : Tensor
        What is above the planes by rows: row i has the `values` from ``offsets[i]`` to
        ``offsets[i + 1]``, int64 ``[h + 1]``, in `columns`, int32.
    """

    digits: Tensor
    scale: Tensor
    exponent: Tensor
    offsets: Tensor
    columns: Tensor
    values: Tensor

    @property
    def h(self) -> int:
        """Rows: the outputs of the layer."""
        return self.offsets.shape[0] - 1

    @property
    def by_row(self) -> bool:
        """Whether every row has its own scale."""
        return self.scale.ndim > 0

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by their `NAMES`."""
        return dict(zip(NAMES, vars(self).values(), strict=True))

    def integers(self, d: int) -> Tensor:
        """Return the integers as ``[h, d]`` float32, which holds each of them exactly.

        Parameters
        ----------
        d : int
            Columns.
        """
        packed = self.digits.dtype == torch.uint8
        planes = _unpacked(self.digits, d) if packed else self.digits
        levels = planes.reshape(len(planes) // self.h if self.h else 1, self.h, d)
        # Two planes hold less than 24 bits.
        total = levels[0].to(torch.float32 if len(levels) <= 2 else torch.int64)
        shift = NIBBLE if packed else BYTE
        for number, level in enumerate(levels[1:], start=1):
            total += level.to(total.dtype) * (1 << shift * number)
        if self.values.numel():
            rows = torch.arange(self.h, device=self.columns.device)
            rows = rows.repeat_interleave(self.offsets.diff(), output_size=self.values.numel())
            place = rows, self.columns.to(torch.int64)
            above = self.values.to(torch.int64) << shift * len(levels)
            total[place] = (total[place].to(torch.int64) + above).to(total.dtype)
        return total.to(torch.float32)

    def floats(self, d: int) -> Tensor:
        """Return the weight that the integers stand for, rounded to float32.

        Parameters
        ----------
        d : int
            Columns.
        """
        quotients = self.integers(d).to(torch.float64) / self.scale.to(torch.float64)
        return (quotients * 2.0 ** -int(self.exponent)).to(torch.float32)


def stored(quantized: Quantized, bits: int) -> StoredWeight:
    """Write a rounded weight ``[h, d]`` in as few bytes as its planes and list can be.

    Parameters
    ----------
    quantized : Quantized
        The weight.
    bits : int
        Width of the digits that it is for; those of up to 4 bits are packed.
    """
    system = DigitSystem("balanced", NIBBLE if bits <= NIBBLE else BYTE)
    above, planes = quantized.values, []
    while True:
        low, above = system.split(above)
        planes.append(low.to(torch.int8))
        listed = int((above != 0).sum()) * (_COLUMN + _type_of(above).itemsize)
        if listed <= above.numel() * system.bits / 8:
            break
    digits = torch.cat(planes)
    rows, columns = above.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(above))
    return StoredWeight(
        digits=_packed(digits) if system.bits == NIBBLE else digits,
        scale=quantized.divisor.clone(),
        exponent=torch.tensor(quantized.scale_exponent, device=digits.device),
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        columns=columns.to(torch.int32),
        values=above[rows, columns].to(_type_of(above)),
    )


def placeholder(shape: torch.Size, by_row: bool, bits: int) -> StoredWeight:
    """Return a weight on the meta device, whose tensors are to be loaded.

    Parameters
    ----------
    shape : torch.Size
        ``[h, d]``.
    by_row : bool
        Whether every row has its own scale.
    bits : int
        Width of the digits that it is for.
    """
    h, d = shape

    def meta(*sizes: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(sizes, dtype=dtype, device="meta")

    return StoredWeight(
        digits=meta(h, -(-d // 2), dtype=torch.uint8)
        if bits <= NIBBLE
        else meta(h, d, dtype=torch.int8),
        scale=meta(*((h, 1) if by_row else ()), dtype=torch.float32),
        exponent=meta(dtype=torch.int64),
        offsets=meta(h + 1, dtype=torch.int64),
        columns=meta(0, dtype=torch.int32),
        values=meta(0, dtype=torch.int8),
    )


def _type_of(values: Tensor) -> torch.dtype:
    """Return the shortest type that holds all values."""
    if not values.numel():
        return torch.int8
    least, most = (int(x) for x in values.aminmax())
    return next(t for t in _VALUES if torch.iinfo(t).min <= least <= most <= torch.iinfo(t).max)


def _packed(digits: Tensor) -> Tensor:
    """Put two digits of 4 bits into a byte, the first one low."""
    rows, d = digits.shape
    padded = digits.new_zeros((rows, d + d % 2))
    padded[:, :d] = digits
    low, high = padded[:, 0::2].view(torch.uint8), padded[:, 1::2].contiguous().view(torch.uint8)
    return (low & 0xF) | (high << 4)


def _unpacked(packed: Tensor, d: int) -> Tensor:
    signed = packed.view(torch.int8)
    pair = torch.stack([(signed << 4) >> 4, signed >> 4], dim=-1)
    return pair.flatten(-2)[:, :d]
