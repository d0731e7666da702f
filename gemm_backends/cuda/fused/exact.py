"""Products beyond 64 bits, put together on the host from the sums of each weight of digits."""

from __future__ import annotations

from accelsim.types import Wide
from gemm_backends.cuda.fused.dense import DenseWay


def wide_integers(way: DenseWay) -> Wide:
    """Return the integers of the last run as Python integers ``[batch, n, h]``."""
    total: Wide | None = None
    for exponent, sums in way.by_weight():
        part = sums.cpu().numpy().astype(object) * (1 << exponent)
        total = part if total is None else total + part
    assert total is not None
    return total
