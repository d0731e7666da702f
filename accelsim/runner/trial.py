"""One case on its route: its operands, its repeats, and how right they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.oracle import Verdict
from accelsim.config import RunConfig
from accelsim.errors import UnsupportedError
from accelsim.measure.graph import GraphedRun
from accelsim.measure.timing import StageTimer, Untimed
from accelsim.routes import Expected, judge, wrong_floats
from accelsim.routes.dequantizing import combined
from accelsim.routes.execute import POISON
from accelsim.runner.cases import Case
from accelsim.runner.opening import request_of, route_of
from accelsim.types import FUSED, SIDES, Counts, PreparedOperand, Side, Timer, Wide


@dataclass(frozen=True)
class Judgement:
    """The correctness of one run.

    Parameters
    ----------
    integers : Verdict
        Of the exact product.
    floats : int
        Entries of the dequantized product that are not the exact quotient rounded once.
    """

    integers: Verdict
    floats: int = 0

    @property
    def right(self) -> bool:
        """Whether nothing was wrong."""
        return self.integers.exact and not self.floats


class Trial:
    """Runs a case, one repeat at a time; operands that are prepared are so when it is made.

    Parameters
    ----------
    case : Case
        What is run.
    operands : tuple of Tensor
        A and B as floats, on the backend's device.
    config : RunConfig
        The settings that all cases share.

    Attributes
    ----------
    request : Request
        What the case asks of its route.
    operands : tuple of Tensor
        As given.

    Raises
    ------
    UnsupportedError
        If the backend has no such route, or it is to be captured as a graph and cannot be.
    DataError
        If an operand that is prepared cannot be rounded.
    """

    def __init__(self, case: Case, operands: tuple[Tensor, Tensor], config: RunConfig) -> None:
        self.request = request_of(case, operands, config)
        self._fused = case.unpack.strategy.name == FUSED
        self.operands = operands
        self._floats = dict(zip(SIDES, operands, strict=True))
        self._graph = config.timing.graph
        if self._graph and not (self._fused and self.request.device.type == "cuda"):
            raise UnsupportedError(
                "timing.graph: only a fused route on an NVIDIA GPU is captured as a CUDA graph"
            )
        self._graphed: GraphedRun[Tensor] | None = None
        self._route = route_of(case, self.request, config)
        self._given = {side: self._operand(side, x) for side, x in self._floats.items()}
        self._product: Tensor | Wide

    def _operand(self, side: Side, x: Tensor) -> Tensor | PreparedOperand:
        return self._route.prepare(side, x) if side in self.request.fixed else x

    @property
    def judged(self) -> str:
        """The kernel that is judged, if the route says that it is not the timed one."""
        return str(getattr(self._route, "judged", ""))

    def repeat(self, timer: StageTimer, before: Callable[[], object] | None = None) -> None:
        """Run all stages once.

        Parameters
        ----------
        timer : StageTimer
            Takes the times.
        before : callable, optional
            Called before, outside of the time, such as to empty the caches.

        Raises
        ------
        DataError
            If an operand cannot be rounded.
        """
        if self._graph:
            self._replay(timer, before)
        else:
            with timer.repeat(before):
                self._product = self._run(timer)
        self._route.check()

    def _run(self, timer: Timer) -> Tensor | Wide:
        return self._route.run(self._given["a"], self._given["b"], timer)

    def _replay(self, timer: StageTimer, before: Callable[[], object] | None) -> None:
        """Replay the captured run; entries that it does not write are not the last run's."""
        if self._graphed is None:
            self._run(Untimed())
            self._route.check()
            self._graphed = GraphedRun(self._captured, self.request.device)
        self._product = _poisoned(self._graphed.result)
        timer.add(self._graphed.times(before))

    def _captured(self, timer: Timer) -> Tensor:
        product = self._run(timer)
        assert isinstance(product, Tensor), "what is captured stays on the device"
        return product

    def judge(self, right: Expected) -> Judgement:
        """Compare what the last repeat gave with what is right."""
        output = self.request.output
        if output is None:
            return Judgement(judge(self._product, right))
        assert isinstance(self._product, Tensor), "a route with an output type gives a tensor"
        return Judgement(judge(self._route.integers(), right), wrong_floats(self._product, right))

    def run_changed(self, right: Expected) -> Judgement | None:
        """Run once, untimed, with an operand whose rows have changed places and signs.

        A backend's own route may keep what it should not: the same operands again do not show it.
        Strategies write new digits in every run, and their backends are checked by `judge` alone.

        Parameters
        ----------
        right : Expected
            The product of the operands as they are.

        Returns
        -------
        Judgement or None
            In the places and with the signs of `right`; None if there is nothing to check.
        """
        if not self._fused:
            return None
        side: Side = "b" if "a" in self.request.fixed and "b" not in self.request.fixed else "a"
        axis = -2 if side == "a" else -1
        changed = -self._floats[side].roll(1, dims=-2)
        if self._graphed is None:
            given = {**self._given, side: self._operand(side, changed)}
            product = self._route.run(given["a"], given["b"], Untimed())
        elif side in self.request.fixed:
            return None
        else:
            before = self._floats[side].clone()
            self._floats[side].copy_(changed)
            _poisoned(self._graphed.result)
            product = self._graphed.replay()
            self._floats[side].copy_(before)
        self._route.check()
        integers = self._route.integers() if self.request.output else product
        return Judgement(judge(_restored(integers, axis), right))

    def relative_error(self) -> float | None:
        """Return the Frobenius error of the dequantized product against float64's, if not 0."""
        result = self._route.integers()
        if not isinstance(result, Tensor):
            result = torch.from_numpy(result.astype(np.float64)).to(self.request.device)
        a, b = (x.to(torch.float64) for x in self._floats.values())
        exact = a @ b.mT
        scale = combined(self._route.scales(), self.counts().scale_exponent)
        product = result.to(torch.float64) / scale
        norm = float(torch.linalg.vector_norm(exact))
        return float(torch.linalg.vector_norm(product - exact)) / norm if norm else None

    def counts(self) -> Counts:
        """Return what the last repeat took."""
        return self._route.counts()

    @property
    def tells_apart(self) -> bool:
        """Whether `counts` may differ from repeat to repeat: overflows, what was prepared."""
        return self._fused or bool(self.request.fixed) or self.request.k_split == "never"


def _poisoned(product: Tensor) -> Tensor:
    """Overwrite a product that the next run must write."""
    return product.fill_(torch.nan if product.is_floating_point() else POISON)


def _restored(product: Tensor | Wide, axis: int) -> Tensor | Wide:
    """Undo the change of places and signs of `run_changed`."""
    if isinstance(product, Tensor):
        return -product.roll(-1, dims=axis)
    return -np.roll(product, -1, axis=axis)
