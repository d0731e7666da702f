"""Count and write digits with torch operations, on any device.

The CPU has compiled kernels for this (`accelsim.unpack.kernels.cpu`); both give the same digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem


def extremes(values: Tensor, system: DigitSystem) -> tuple[Tensor, Tensor, int]:
    """Return the digits that each row and column of ``[n, d]`` needs, and the entries over one."""
    n, d = values.shape
    if not values.numel():
        ones = torch.ones(n + d, dtype=torch.int64, device=values.device)
        return ones[:n], ones[n:], 0
    counts = system.count(values)
    return counts.amax(dim=1), counts.amax(dim=0), int((counts > 1).sum())


def outside(values: Tensor, system: DigitSystem) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows, columns and values of the entries of ``[n, d]`` that do not fit one digit."""
    rows, columns = system.out_of_bound(values).nonzero(as_tuple=True)
    return rows, columns, values[rows, columns].to(torch.int64)


def digits(
    values: Tensor,
    system: DigitSystem,
    row_levels: Tensor,
    columns: Tensor | None,
    skip: Tensor,
    last: Tensor,
) -> Tensor:
    """Write ``[n, d]`` in digits; see `accelsim.unpack.operand.IntegerOperand.digits`."""
    rest = (values if columns is None else values[:, columns]).to(torch.int64)
    deepest = 62 // system.shift
    carries = torch.tensor([system.carry(k) for k in range(deepest + 1)], device=values.device)
    parts = []
    level = 1
    while level == 1 or rest.shape[0]:
        splits = (skip + level - 1).clamp(max=deepest)
        left = (rest + carries[splits]) >> (splits * system.shift)
        low = system.split(left)[0]
        ends = (row_levels == level).unsqueeze(1)
        part = torch.where(ends & last, left, low)
        parts.append(part.masked_fill_(~ends & (skip > 0), 0).to(system.dtype))
        deeper = row_levels > level
        rest, row_levels, level = rest[deeper], row_levels[deeper], level + 1
    return torch.cat(parts)
