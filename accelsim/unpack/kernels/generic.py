"""Count and write digits with torch operations, on any device.

The CPU and CUDA devices have compiled kernels for this; all give the same digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.unpack.kernels.base import OperandKernels


class GenericKernels(OperandKernels):
    """Implements `Kernels` for an operand on any device."""

    def row_levels(self) -> Tensor:
        """Return the digits that the rows need."""
        return self._levels(2, self.shape[:2])

    def column_levels(self) -> Tensor:
        """Return the digits that the columns need."""
        return self._levels(1, (self.shape[0], self.shape[2]))

    def out_of_bound(self) -> tuple[int, ...]:
        """Return the entries of each matrix that do not fit one digit."""
        return tuple(self._system.out_of_bound(self._integers).sum(dim=(1, 2)).tolist())

    def counts(self) -> Tensor:
        """Return the digits that each entry needs."""
        return self._system.count(self._integers).to(torch.uint8)

    def outside(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows, columns and values of what does not fit one digit."""
        values = self._integers[head]
        rows, columns = self._system.out_of_bound(values).nonzero(as_tuple=True)
        return rows, columns, values[rows, columns].to(torch.int64)

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix in digits."""
        return write(self._integers[head], self._system, row_levels, columns, skip, last)

    def _levels(self, dim: int, shape: tuple[int, int]) -> Tensor:
        """Return the digits of the smallest and the largest entries along `dim`, whichever is more.

        They grow with the value on either side of zero.
        """
        if not self._integers.numel():
            return torch.ones(shape, dtype=torch.int64, device="cpu")
        extremes = torch.stack(self._integers.aminmax(dim=dim)).cpu()
        return self._system.count(extremes).amax(dim=0)


def write(
    values: Tensor,
    system: DigitSystem,
    row_levels: Tensor,
    columns: Tensor | None,
    skip: Tensor,
    last: Tensor,
) -> Tensor:
    """Write integers ``[n, d]`` in digits; see `accelsim.unpack.operand.IntegerOperand.digits`."""
    last = last & system.keeps_last
    row_levels, skip, last = (x.to(values.device) for x in (row_levels, skip, last))
    rest = (values if columns is None else values[:, columns.to(values.device)]).to(torch.int64)
    parts = []
    level = 1
    while level == 1 or rest.shape[0]:
        left = _after(rest, skip + level - 1, system)
        low = system.split(left)[0]
        ends = (row_levels == level).unsqueeze(1)
        part = torch.where(ends & last, left, low)
        parts.append(part.masked_fill_(~ends & (skip > 0), 0).to(system.dtype))
        deeper = row_levels > level
        rest, row_levels, level = rest[deeper], row_levels[deeper], level + 1
    return torch.cat(parts)


def _after(values: Tensor, splits: Tensor, system: DigitSystem) -> Tensor:
    """Return what is left of ``[n, c]`` after splits, as many as int64 ``[c]`` says."""
    for part in split_table(system, values.device)[splits.clamp(max=_deepest(system))].unbind(-1):
        carries = carry_table(system, values.device)[part]
        values = (values + carries) >> (part * system.shift)
    return values


def _deepest(system: DigitSystem) -> int:
    """Return a number of splits beyond which nothing changes."""
    return sum(system.parts_of_split(1 << 10))


def split_table(system: DigitSystem, device: torch.device) -> Tensor:
    """Return `DigitSystem.parts_of_split` of 0, 1, 2, … splits, int64 ``[deepest + 1, 2]``."""
    parts = [system.parts_of_split(splits) for splits in range(_deepest(system) + 1)]
    return torch.tensor(parts, device=device)


def carry_table(system: DigitSystem, device: torch.device) -> Tensor:
    """Return `DigitSystem.carry` of 0, 1, 2, … splits, int64."""
    most = system.parts_of_split(1 << 10)[0]
    return torch.tensor([system.carry(splits) for splits in range(most + 1)], device=device)
