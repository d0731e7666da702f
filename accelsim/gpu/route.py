"""The fused route as the GPU benchmark times it: one CUDA graph, and its stages one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.errors import InputError
from accelsim.measure.timing import StageTimer
from accelsim.types import Counts, PerOperand, Request, Rounding, Side
from gemm_backends import load_backend
from gemm_backends.types import Support


class TimedRoute:
    """A fused route for two operands of one shape.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]`` on a Hopper GPU; new values may be copied into them.
    percentile, beta : float
        Of the quantization, for both operands.
    prepared : bool
        Whether B is rounded and unpacked ahead.

    Raises
    ------
    InputError
        If there is no fused route for them.
    """

    def __init__(self, a: Tensor, b: Tensor, percentile: float, beta: float, prepared: bool) -> None:
        fixed: frozenset[Side] = frozenset({"b"} if prepared else ())
        request = Request(
            shape=(1, a.shape[0], a.shape[1], b.shape[0]),
            device=a.device,
            dtype=a.dtype,
            rounding=PerOperand.both(Rounding(percentile, beta)),
            digits=PerOperand.both(DigitSystem("balanced", 8)),
            fixed=fixed,
            output=a.dtype,
        )
        route = load_backend("cutlass-int8").fused(request)
        if isinstance(route, Support):
            raise InputError(route.reason)
        self.route = route
        self._operands = a, route.prepare("b", b) if prepared else b
        self.run()
        self.run()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = self.run()

    def run(self, timer: StageTimer | None = None) -> Tensor:
        """Queue a run and return its result."""
        timer = timer or StageTimer(self._operands[0].device.type)
        result = self.route.run(*self._operands, timer)
        assert isinstance(result, Tensor)
        return result

    def counts(self) -> Counts:
        """Return what the last run took."""
        return self.route.counts()
