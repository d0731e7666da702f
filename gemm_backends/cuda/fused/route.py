"""The fused route: float operands to the exact product on a Hopper GPU, whatever their values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.rounding import Quantized
from accelsim.errors import DataError, InputError
from accelsim.kernels.launches import current_stream
from accelsim.types import SIDES, Counts, PerOperand, PreparedOperand, Request, Side, Timer, Wide
from gemm_backends.cuda.fused.accounts import counts_of
from gemm_backends.cuda.fused.columns import ColumnsWay, PlanDoesNotFitError
from gemm_backends.cuda.fused.dense import DenseWay
from gemm_backends.cuda.fused.exact import wide_integers
from gemm_backends.cuda.fused.few import FewWay
from gemm_backends.cuda.fused.memory import PlanMemory, trim
from gemm_backends.cuda.fused.plan import Columns, Few, Plan
from gemm_backends.cuda.fused.planner import blind_plan, first_plan, graph_plan, next_plan
from gemm_backends.cuda.fused.rounding import Operands
from gemm_backends.cuda.fused.sides import Floats
from gemm_backends.cuda.fused.status import (
    MOST_DIGITS,
    NO_PROOF,
    NOT_FINITE,
    UNDEFINED,
    Report,
    StatusPool,
)
from gemm_backends.cuda.fused.way import Incoming, Shape, Way

JUDGED = (
    "the timed GEMM, which dequantizes its sums itself, by every float of its result; the integers "
    "by the same GEMM made once more with its sums written out"
)
"""The subject of a verdict if the timed kernel writes no integers."""


def nothing() -> None:
    """Do nothing."""


_SIDES: dict[tuple[bool, bool], tuple[Side, ...]] = {
    (False, False): (),
    (True, False): ("a",),
    (False, True): ("b",),
    (True, True): ("a", "b"),
}
"""Operands by whether A and B are among them."""


@dataclass(slots=True)
class _Run:
    """The last run: its way, its report, and its shapes."""

    way: Way | None
    report: Report | None
    sides: PerOperand[Incoming]
    shape: Shape
    result: torch.Size
    operands: PerOperand[torch.Size]
    prepared: tuple[Side, ...]
    wide: Wide | None = None
    error: str = ""


class FusedRoute:
    """Rounds, unpacks and multiplies in its own kernels; exact for every value.

    A run is made by a plan, and finds out on the device whether its operands fit it. Where they do
    not, it is made again by another plan, and the route goes on with that one. Inside a CUDA graph
    no new plan can be made: two digits of every entry are taken there where a plan is exceeded,
    and what is beyond that poisons the result and makes the next `check` raise.

    Parameters
    ----------
    request : Request
        What the route is for.
    """

    overlaps = True

    def __init__(self, request: Request) -> None:
        self._request = request
        self._operands = Operands(request)
        self._statuses = StatusPool(request.device)
        self._ways: OrderedDict[tuple[object, int], Way] = OrderedDict()
        self._captured: dict[Way, PerOperand[torch.Size]] = {}
        self._shapes: dict[tuple[torch.Size, torch.Size], tuple[Shape, torch.Size]] = {}
        self._plans = PlanMemory()
        # Messages, not exceptions: those would keep what their tracebacks see.
        self._errors: list[str] = []
        self._replans = 0
        self._last: _Run | None = None

    def prepare(self, side: Side, x: Tensor) -> PreparedOperand:
        """Round a fixed operand, and write its digits; waits for the GPU.

        Raises
        ------
        DataError
            If it holds NaN or infinity, has no scale, or reaches 2^62.
        """
        return self._operands.prepare(side, x)

    def restore(self, side: Side, quantized: Quantized) -> PreparedOperand:
        """Write the digits of an operand that was rounded earlier; waits for the GPU."""
        return self._operands.restore(side, quantized)

    def run(
        self,
        a: Tensor | PreparedOperand,
        b: Tensor | PreparedOperand,
        timer: Timer,
        meanwhile: Callable[[], None] = nothing,
    ) -> Tensor | Wide:
        """Compute the product of two operands.

        Outside of a CUDA graph this waits until the operands are rounded and unpacked, not for the
        product.

        Parameters
        ----------
        a, b : Tensor or PreparedOperand
            The operands.
        timer : Timer
            Of the stages.
        meanwhile : callable
            What the host does before it waits.

        Returns
        -------
        Tensor or ndarray of object
            ``[..., n, h]`` in the output type of the request; without one the integers in int64, or
            Python integers where 64 bits are not proved to be enough.

        Raises
        ------
        InputError
            If the operands are of another kind, or do not fit each other.
        """
        device = self._request.device
        capturing = torch.cuda.is_current_stream_capturing()
        stream = None if capturing else current_stream(device)
        incoming = self._operands.incoming
        sides = PerOperand(incoming("a", a, stream), incoming("b", b, stream))
        operands = a.shape, b.shape
        shapes = self._shapes.get(operands)
        if shapes is None:
            shapes = self._shapes[operands] = self._shapes_of(*operands)
        shape, result = shapes
        prepared = _SIDES[isinstance(a, PreparedOperand), isinstance(b, PreparedOperand)]
        run = _Run(None, None, sides, shape, result, PerOperand(*operands), prepared)
        self._last = run
        dtype = self._request.output or torch.int64
        if not result.numel() or not shape[2]:
            meanwhile()
            self._look_at(run, a, b)
            return torch.zeros(result, dtype=dtype, device=device)
        out = torch.empty(result, dtype=dtype, device=device)
        if stream is None:
            meanwhile()
            self._record(run, out, timer)
        else:
            self._run(run, a, b, out, timer, stream, meanwhile)
        return run.wide if run.wide is not None and self._request.output is None else out

    def check(self) -> None:
        """Wait for the runs so far, and raise what was found in them.

        Raises
        ------
        DataError
            If an operand held NaN or infinity, or has no scale; or if a run of a CUDA graph met
            operands for which it has too few digits or no proof.
        """
        errors, self._errors = self._errors, []
        for way, operands in self._captured.items():
            report = way.status.read()
            if report.sticky:
                errors.append(self._error_of(report, operands))
                way.status.forgive()
        if errors:
            raise DataError(errors[0])

    def integers(self) -> Tensor | Wide:
        """Return the integers of the last run, ``[..., n, h]``, multiplied once more.

        Raises
        ------
        DataError
            If that run has none.
        """
        run = self._ran()
        if run.error:
            raise DataError(run.error)
        if run.wide is not None:
            return run.wide
        if run.way is None:
            return torch.zeros(run.result, dtype=torch.int64, device=self._request.device)
        report = run.report or run.way.status.read()
        if report.flags and not report.gate:
            raise DataError(self._error_of(report, run.operands))
        return run.way.integers(report).view(run.result)

    def scales(self) -> PerOperand[Tensor]:
        """Return the float32 scales of the last run: scalars, or ``[..., rows, 1]`` by rows."""
        run = self._ran()
        sides = run.way.sides if run.way else run.sides

        def scale(x: Incoming, shape: torch.Size) -> Tensor:
            wanted = (*shape[:-1], 1) if x.by_row else ()
            if not shape.numel():
                return torch.ones(wanted, device=self._request.device)
            return x.scale.clone().view(wanted)

        return PerOperand(scale(sides.a, run.operands.a), scale(sides.b, run.operands.b))

    @property
    def judged(self) -> str:
        """The kernels that a verdict on the last run is about, if not the timed one."""
        way = self._ran().way
        return JUDGED if way is not None and way.dequantized else ""

    def counts(self) -> Counts:
        """Return the operation counts of the last run; waits for it."""
        run = self._ran()
        replans = self._replans + sum(way.status.read().replans for way in self._captured)
        report = run.report or (run.way.status.read() if run.way else None)
        return counts_of(run.way, report, run.sides, run.shape, run.operands, run.prepared, replans)

    def _shapes_of(self, a: torch.Size, b: torch.Size) -> tuple[Shape, torch.Size]:
        """Return batch, n, d, h and the shape of the result."""
        if a[:-2] != b[:-2] or a[-1] != b[-1]:
            raise InputError(
                f"{self._request.names.a} {[*a]} and {self._request.names.b} {[*b]} differ in "
                "their batch or in their last dimension"
            )
        return (a[:-2].numel(), a[-2], a[-1], b[-2]), torch.Size((*a[:-1], b[-2]))

    def _ran(self) -> _Run:
        if self._last is None:
            raise InputError("the route has not run yet")
        return self._last

    def _run(
        self,
        run: _Run,
        a: Tensor | PreparedOperand,
        b: Tensor | PreparedOperand,
        out: Tensor,
        timer: Timer,
        stream: int,
        meanwhile: Callable[[], None],
    ) -> None:
        key = run.shape, run.sides.a.number, run.sides.b.number
        known = self._plans.get(key)
        plan = known or first_plan(run.sides, run.shape)
        attempt = exceeded = self._plans.exceeded(key)
        while True:
            try:
                way = self._way(plan, run.sides, run.shape, stream)
            except PlanDoesNotFitError:
                plan = blind_plan(run.sides)
                continue
            try:
                way.run(run.sides, out, timer, stream, capturing=False)
                meanwhile()
                report = way.status.wait()
            except BaseException:
                # The device may have counted fewer runs than the host has.
                self._drop(way)
                raise
            meanwhile = nothing
            run.way, run.report = way, report
            if not report.flags:
                way.settle()
                break
            if report.flags & (NOT_FINITE | UNDEFINED):
                if not self._round_exactly(run, a, b, report):
                    break
                plan = blind_plan(run.sides)
            elif max(report.digits) > MOST_DIGITS:
                side: Side = "a" if report.digits[0] > MOST_DIGITS else "b"
                self._fail(run, self._operands.too_large(side))
                break
            elif isinstance(way, DenseWay) and way.wide and report.flags == NO_PROOF:
                self._multiply_on_host(run, way, out)
                break
            else:
                attempt += 1
                plan = next_plan(plan, report, run.sides, run.shape, attempt)
        way.forget()
        again = known is not None and attempt > exceeded
        if key == (run.shape, run.sides.a.number, run.sides.b.number) and not run.error:
            self._plans.keep(key, plan, again)
        self._replans += again

    def _record(self, run: _Run, out: Tensor, timer: Timer) -> None:
        key = run.shape, run.sides.a.number, run.sides.b.number
        plan = self._plans.get(key) or graph_plan(run.sides, run.shape)
        found = [way for (name, _), way in self._ways.items() if name == (plan, *key)]
        if found:
            way = found[-1]
        else:
            # Columns are laid out before, because their digits of prepared operands are written
            # only once.
            if isinstance(plan, Columns):
                plan = graph_plan(run.sides, run.shape)
            way = self._create(plan, run.shape, run.sides)
        way.run(run.sides, out, timer, current_stream(out.device), capturing=True)
        way.forget()
        run.way = way
        self._captured[way] = run.operands

    def _way(self, plan: Plan, sides: PerOperand[Incoming], shape: Shape, stream: int) -> Way:
        name = (plan, shape, sides.a.number, sides.b.number), stream
        way = self._ways.get(name)
        if way is not None:
            self._ways.move_to_end(name)
            return way
        trim(self._ways)
        way = self._ways[name] = self._create(plan, shape, sides)
        return way

    def _drop(self, way: Way) -> None:
        for name, known in list(self._ways.items()):
            if known is way:
                del self._ways[name]

    def _create(self, plan: Plan, shape: Shape, sides: PerOperand[Incoming]) -> Way:
        status, device = self._statuses.take(), self._request.device
        if isinstance(plan, Columns):
            return ColumnsWay(plan, shape, sides, status, device)
        if isinstance(plan, Few):
            return FewWay(plan, shape, sides, status, device)
        return DenseWay(plan, shape, sides, status, device)

    def _round_exactly(
        self,
        run: _Run,
        a: Tensor | PreparedOperand,
        b: Tensor | PreparedOperand,
        report: Report,
    ) -> bool:
        """Round operands whose scales the kernels did not find; whether there are integers now."""
        rounded: list[Incoming] = []
        for side, x, y, nonfinite in zip(
            SIDES, (run.sides.a, run.sides.b), (a, b), report.nonfinite, strict=True
        ):
            if isinstance(x, Floats) and isinstance(y, Tensor):
                try:
                    if nonfinite:
                        index = y.numel() - nonfinite
                        raise DataError(self._operands.not_finite(side, y.shape, index, y))
                    if not bool((x.scale > 0).all()):
                        rounded.append(self._operands.round_exactly(side, y))
                        continue
                except DataError as error:
                    self._fail(run, str(error))
                    return False
            rounded.append(x)
        run.sides = PerOperand(rounded[0], rounded[1])
        return True

    def _multiply_on_host(self, run: _Run, way: DenseWay, out: Tensor) -> None:
        integers = wide_integers(way)
        run.wide = integers.reshape(tuple(run.result))
        if self._request.output is not None:
            exponents = way.sides.map(lambda x: x.exponent)
            floats = dequantize(run.wide, self.scales(), out.dtype, exponents)
            out.copy_(floats.view(out.shape))

    def _look_at(
        self, run: _Run, given_a: Tensor | PreparedOperand, given_b: Tensor | PreparedOperand
    ) -> None:
        """Check that operands without a product can be rounded."""
        if torch.cuda.is_current_stream_capturing():
            return
        for side, x in zip(SIDES, (given_a, given_b), strict=True):
            if isinstance(x, Tensor) and x.numel():
                try:
                    prepared = self._operands.prepare(side, x)
                except DataError as error:
                    self._fail(run, str(error))
                    return
                a, b = run.sides.a, run.sides.b
                run.sides = PerOperand(prepared, b) if side == "a" else PerOperand(a, prepared)

    def _fail(self, run: _Run, error: str) -> None:
        run.error = error
        self._errors.append(error)

    def _error_of(self, report: Report, operands: PerOperand[torch.Size]) -> str:
        """Return what was wrong in a run of a CUDA graph."""
        flags, names = report.flags | report.sticky, self._request.names
        if flags & NOT_FINITE:
            for side, nonfinite in zip(SIDES, report.nonfinite, strict=True):
                if nonfinite:
                    shape = operands.of(side)
                    index = shape.numel() - nonfinite
                    return self._operands.not_finite(side, shape, index, None)
        where = f"{names.a} and {names.b}: inside a CUDA graph"
        if flags & UNDEFINED:
            return f"{where} an operand had no float32 scale; raise the percentile"
        return (
            f"{where} an entry needs more digits than were recorded, or the norms do not prove "
            "that every sum fits; record the graph after a run with such operands, or run them "
            "outside"
        )
