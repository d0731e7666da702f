"""The check of a route inside a CUDA graph, where no new plan can be made and nothing be raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from accelsim.errors import DataError
from accelsim.measure.timing import Untimed
from accelsim.types import PerOperand
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.routes.opened import Opened, each
from gemm_backends.conformance.routes.reference import expected
from gemm_backends.conformance.routes.requests import varied, worded
from gemm_backends.conformance.routes.values import KINDS
from gemm_backends.conformance.subject import Subject

Capture = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]]
"""Takes a run, and returns its output and what replays it."""

WARMUP = 3
"""Runs on the stream of a capture before it."""

PLAIN = PerOperand.both("no heavy hitters")


@check
def route_graphs(subject: Subject) -> str:
    """In a CUDA graph new values are exact, or floats are NaN and check() raises; never silent."""
    capture = CAPTURES.get(torch.device(subject.device).type)
    exact = raised = 0
    requests = [
        replace(request, output=request.dtype, shape=(1, 33, *request.shape[2:]))
        for request in varied(subject)
    ]
    for route in each(subject, requests):
        if capture is None:
            raise NotApplicable(f"its operands lie on the {subject.device}; there are no graphs")
        captured = _Captured(route, capture)
        for seed, kind in enumerate((*KINDS, *reversed(KINDS))):
            operands = route.draw(PerOperand.both(kind), 2 * seed)
            if captured.verify(operands, kind):
                exact += 1
            else:
                raised += 1
        for place in ((0, 0), (16, 48), (-1, -1)):
            operands = route.draw(PLAIN, 0)
            operands.a[place] = torch.nan
            captured.must_raise(operands, f"NaN at {place} of A")
            if not captured.verify(route.draw(PLAIN, 2), "no NaN"):
                raise CheckFailed(f"{worded(route.request)}: check() raises for good after NaN")
            raised += 1
    return f"{exact} replays exact, {raised} NaN and raised"


def capture_on_cuda(run: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Capture a run in a CUDA graph; return its output and what replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return output, graph.replay


CAPTURES: dict[str, Capture] = {"cuda": capture_on_cuda}
"""Functions that capture a run, by kind of device."""


class _Captured:
    """A run of a route in a graph, with the tensors that it reads."""

    def __init__(self, route: Opened, capture: Capture) -> None:
        self.route = route
        self.operands = route.draw(PLAIN, 0)
        given = route.given(self.operands)

        def run() -> Tensor:
            output = route.route.run(given.a, given.b, Untimed())
            assert isinstance(output, Tensor)
            return output

        run()
        route.route.check()
        try:
            self.output, self.replay = capture(run)
        except Exception as error:
            raise CheckFailed(
                f"{worded(route.request)}: run() cannot be captured in a CUDA graph: {error}"
            ) from error

    def verify(self, operands: PerOperand[Tensor], what: str) -> bool:
        """Replay with new values; return whether the output is exact, else it must be NaN."""
        raised = self._raises(operands, what)
        if not raised:
            right = expected(self.operands.a, self.operands.b, self.route.request.rounding)
            self.route.compare_output(self.output, right, self._worded(what))
        return not raised

    def must_raise(self, operands: PerOperand[Tensor], what: str) -> None:
        """Replay with values that cannot be rounded, and require NaN and an error.

        Raises
        ------
        CheckFailed
            If either is missing.
        """
        if not self._raises(operands, what):
            raise CheckFailed(f"{self._worded(what)}: check() did not raise")

    def _raises(self, operands: PerOperand[Tensor], what: str) -> bool:
        """Replay with new values; say whether `check` raised, which takes that all is NaN."""
        self.operands.a.copy_(operands.a)
        if "b" not in self.route.request.fixed:
            self.operands.b.copy_(operands.b)
        self.output.fill_(0)
        self.replay()
        try:
            self.route.route.check()
        except DataError:
            if not bool(self.output.isnan().all()):
                raise CheckFailed(
                    f"{self._worded(what)}: check() raised, and not all floats are NaN"
                ) from None
            return True
        return False

    def _worded(self, what: str) -> str:
        return f"{worded(self.route.request)}; {what}, in a CUDA graph"


CHECKS = (route_graphs,)
