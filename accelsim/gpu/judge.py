"""The verdict on a run of the pipeline: every integer and every float of it."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.oracle import Verdict, compare, oracle
from accelsim.arithmetic.rounding import rank
from accelsim.gpu.quotient import rounded_quotient
from accelsim.gpu.route import TimedRoute


def judge(
    route: TimedRoute, a: Tensor, b: Tensor, percentile: float, beta: float
) -> tuple[Verdict, bool]:
    """Compare a run with the oracle, which quantizes by sorting, without the kernels under test.

    Parameters
    ----------
    route : TimedRoute
        After a run.
    a, b : Tensor
        Its operands.
    percentile, beta : float
        Of their quantization.

    Returns
    -------
    Verdict
        Of the integers.
    bool
        Whether every float is the exact integer times the scale, rounded once.
    """
    (qa, scale_a), (qb, scale_b) = (_reference(x, percentile, beta) for x in (a, b))
    expected = oracle(qa, qb)
    assert isinstance(expected, Tensor)
    verdict = compare(route.route.integers(), expected)
    floats = rounded_quotient(expected, scale_a.double() * scale_b.double(), route.out.dtype)
    return verdict, bool(torch.equal(route.out, floats))


def _reference(x: Tensor, percentile: float, beta: float) -> tuple[Tensor, Tensor]:
    values = x.to(torch.float32)
    alpha = values.abs().flatten().sort().values[-rank(x.numel(), percentile)]
    scale = (beta / (2 * alpha.to(torch.float64))).to(torch.float32)
    return (values * scale).round().to(torch.int32), scale
