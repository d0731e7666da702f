"""The fused route as the GPU benchmark times it: captured as CUDA graphs."""

from __future__ import annotations

from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.errors import InputError
from accelsim.measure.graph import GraphedRun
from accelsim.types import PerOperand, Request, Rounding, Side, Timer
from gemm_backends import load_backend
from gemm_backends.types import Support


class TimedRoute:
    """A fused route for two operands, whose memory it reads in every replay.

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

    def __init__(
        self, a: Tensor, b: Tensor, percentile: float, beta: float, prepared: bool
    ) -> None:
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
        operands = a, route.prepare("b", b) if prepared else b

        def run(timer: Timer) -> Tensor:
            result = route.run(*operands, timer)
            assert isinstance(result, Tensor)
            return result

        self.graph = GraphedRun(run, a.device)

    @property
    def out(self) -> Tensor:
        """What every replay writes."""
        return self.graph.result

    def stage_times(self, repeats: int) -> dict[str, float]:
        """Return the median time of every stage in ms."""
        times = [self.graph.stage_times() for _ in range(repeats)]
        middle = len(times) // 2
        return {name: sorted(each[name] for each in times)[middle] for name in times[0]}
