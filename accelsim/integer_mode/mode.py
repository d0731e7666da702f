"""The context manager that runs a model's GEMMs on integers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from accelsim.errors import DataError, InputError, UnsupportedError
from accelsim.integer_mode.kinds import kinds
from accelsim.integer_mode.layers import LinearLayer, layer_of
from accelsim.integer_mode.pinned import Pinning, fold, folds
from accelsim.integer_mode.planned import Planned
from accelsim.integer_mode.replacing import ALL, Replacing, Selection, macs
from accelsim.integer_mode.routes import Routes
from accelsim.integer_mode.tally import Tally
from accelsim.integer_mode.weights import Weights
from accelsim.measure.timing import Untimed
from accelsim.routes import GeneralRoute, SimulatedRoute, expected, judge, wrong_floats
from accelsim.types import Counts, PerOperand, PreparedOperand, Request, Route, Side, Wide
from workloads.tracing import GemmCall
from workloads.tracing.modules import in_backward


class IntegerGemms(Replacing):
    """Computes every chosen GEMM by a route: rounded, multiplied in integers, dequantized.

    Parameters
    ----------
    model : nn.Module
        Any model; see `workloads.tracing.Tracer`.
    planned : Planned
        How each GEMM is computed.
    selection : Selection
        Which GEMMs.
    check : bool
        Compare every integer with the oracle's, and every float with the exact quotient, from the
        operands as they are then.
    nonfinite : {"error", "pass"}, optional
        The treatment of a product with an operand that holds NaN or infinity; by default infinite
        gradients pass, and so do the NaN that follow from them in the backward pass.
    pinning : Pinning, optional
        What makes the bits of everything between the GEMMs, and of the products of attention,
        independent of the batch and the device.

    Attributes
    ----------
    tally : Tally
        What was multiplied so far.
    watch : callable or None
        Called with every GEMM, its request and the counts of its route, as soon as it is computed.
    """

    def __init__(
        self,
        model: nn.Module,
        planned: Planned,
        selection: Selection = ALL,
        check: bool = False,
        nonfinite: str | None = None,
        pinning: Pinning | None = None,
    ) -> None:
        super().__init__(model, selection, planned.globs)
        self._planned, self._checking, self._pinning = planned, check, pinning
        self.tally = Tally(self.left, self.not_chosen, pinning)
        self.watch: Callable[[GemmCall, Request, Counts], None] | None = None
        self._nonfinite = nonfinite
        self._overflowed = False
        self._routes = Routes()
        self._layers: dict[str, LinearLayer] = {}
        self._one_at_a_time = threading.RLock()

    def __enter__(self) -> Self:
        # Writes to the weights outside of the context were not seen.
        self._weights = Weights(self.model)
        self._layers.clear()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is None:
            self._weights.check()

    def linear(self, layer: str, x: Any, weight: Any, bias: Any) -> Tensor | None:
        """Compute a linear layer as it was computed before, if nothing is different."""
        known = self._layers.get(layer)
        if (
            known is None
            or not known.takes(x, weight, bias)
            or torch._C._len_torch_dispatch_stack()
            or self._lineage.knows((x,))
            or (x.is_cuda and torch.cuda.is_current_stream_capturing())
        ):
            return None
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        with self._one_at_a_time:
            out = self._computed_again(layer, known, rows)
        if out is None:
            return None
        if x.ndim > 2:
            out = out.view((*x.shape[:-1], out.shape[-1]))
        return out if bias is None else bias + out

    def product(self, call: GemmCall) -> Tensor:
        """Return the integer product of a GEMM, dequantized into the type of A."""
        if call.phase == "forward":
            self._overflowed = False
        if call.a.is_cuda and torch.cuda.is_current_stream_capturing():
            raise InputError(
                f"{call.name}: integer_gemms waits for the device after every GEMM, which a CUDA "
                "graph cannot record; convert the model with accelsim.quantize_ and record that"
            )
        try:
            with self._one_at_a_time:
                return self._product(call)
        except DataError as error:
            return self._in_floats(call, error)
        except UnsupportedError as error:
            raise InputError(f"{call.name} ({call.phase}): {error}") from error

    def _computed_again(self, layer: str, known: LinearLayer, rows: Tensor) -> Tensor | None:
        """Compute a linear layer's product, unless its weight was written to."""
        calls: list[GemmCall] = []

        def place() -> None:
            if self._weights.is_unchanged(known.weight, known.view, known.kept):
                calls.append(self._placing.linear(layer, rows, known.weight))

        # Finding that out takes as long as a GPU needs to unpack the operand.
        route, overlaps = known.route, getattr(known.route, "overlaps", False)
        if not overlaps:
            place()
        self._overflowed = False
        try:
            if overlaps or calls:
                more = (place,) if overlaps else ()
                result = route.run(rows, known.prepared, _UNTIMED, *more)
                route.check()
                if calls:
                    return self._counted(calls[0], known.request, route, result)
        except DataError as error:
            if calls:
                return self._in_floats(calls[0], error)
        except UnsupportedError as error:
            raise InputError(f"{layer} (forward): {error}") from error
        # Its next run would be in vain, too.
        self._layers.pop(layer, None)
        return None

    def _in_floats(self, call: GemmCall, error: DataError) -> Tensor:
        """Leave a product with NaN or infinity to the model, or raise what was wrong with it."""
        name = f"{call.name} ({call.phase})"
        if not self._passes(call):
            raise DataError(f"{name}: {error}") from error
        self.left.add(f"{name}: NaN or infinity in an operand", macs(call))
        if self._pinning is not None:
            self._pinning.name(f"{name}: a product in floats")
        return call.a @ call.b.mT

    def _passes(self, call: GemmCall) -> bool:
        """Whether an operand holds NaN or infinity and the GEMM is left to the model for it."""
        operands = call.a, call.b
        if self._nonfinite is not None:
            return self._nonfinite == "pass" and not all(bool(x.isfinite().all()) for x in operands)
        if call.phase == "forward":
            return False
        self._overflowed |= any(bool(x.isinf().any()) for x in operands)
        return self._overflowed and not all(bool(x.isfinite().all()) for x in operands)

    def _push(self, stack: ExitStack) -> None:
        # What the tracer has seen and runs comes to the mode that was entered first.
        if self._pinning is not None:
            mode = self._pinning.mode(lambda: self._running.inside or in_backward())
            stack.enter_context(mode)
        super()._push(stack)

    def _product(self, call: GemmCall) -> Tensor:
        if self._pinning is not None:
            if folds(call):
                return self._folded(call)
            if call.a.shape[-1] == 1:
                self.left.add(f"{call.name}: depth 1, one multiplication an entry", macs(call))
                return call.a * call.b.mT
        request, route = self._route(call)
        if self._pinning is not None:
            self._pinning.see(call, request)
        fixed, prepared = request.fixed, self._weights.prepared
        a = prepared(call.a, "a", route) if "a" in fixed else call.a
        b = prepared(call.b, "b", route) if "b" in fixed else call.b
        result = route.run(a, b, _UNTIMED)
        # An error is raised here while its GEMM is known; the steps that follow wait for the
        # product anyway.
        route.check()
        result = self._counted(call, request, route, result)
        if isinstance(b, PreparedOperand) and isinstance(a, Tensor):
            layer = layer_of(call, request, route, b, self._weights)
            if layer is not None:
                self._layers[call.site.layer] = layer
        return result

    def _counted(
        self, call: GemmCall, request: Request, route: Route, result: Tensor | Wide
    ) -> Tensor:
        assert isinstance(result, Tensor), "a route with an output type gives a tensor"
        self._count(call, request, route, result)
        if isinstance(route, GeneralRoute | SimulatedRoute):
            route.forget()
        return result

    def _folded(self, call: GemmCall) -> Tensor:
        """Return probabilities times values, rounded for each token."""
        how = self._planned.of(call.site.place, call.phase)
        kind = self._kinds(call)
        folded = fold(call.a, call.b, how.of(kind, call))
        request = folded.request(kind, how.digits)
        route = how.opener(request)
        result = route.run(folded.a, folded.b, _UNTIMED)
        route.check()
        assert isinstance(result, Tensor), "a route with an output type gives a tensor"
        self._count(call._replace(a=folded.a, b=folded.b), request, route, result)
        return folded.dequantized(route.integers(), call.a.dtype)

    def _kinds(self, call: GemmCall) -> PerOperand[str]:
        weights = PerOperand(self._lineage.of(call.a).weight, self._lineage.of(call.b).weight)
        return kinds(call, weights)

    def _route(self, call: GemmCall) -> tuple[Request, Route]:
        a, b = call.a, call.b
        how = self._planned.of(call.site.place, call.phase)
        kind = self._kinds(call)
        sides: tuple[tuple[Side, Tensor], ...] = (("a", a), ("b", b))
        fixed = tuple(side for side, x in sides if self._weights.stays(x))
        shape = (
            a.shape[:-2].numel(),
            None if fixed == ("b",) else a.shape[-2],
            a.shape[-1],
            b.shape[-2],
        )

        def request() -> Request:
            return Request(
                shape=shape,
                device=a.device,
                dtype=a.dtype,
                rounding=how.of(kind, call),
                digits=how.digits,
                fixed=frozenset(fixed),
                output=a.dtype,
                names=kind,
            )

        key = shape, a.device, a.dtype, kind.a, kind.b, fixed, id(how)
        return self._routes.get(key, request, how.opener)

    def _count(self, call: GemmCall, request: Request, route: Route, result: Tensor) -> None:
        counts = route.counts()
        found = {}
        if counts.products:
            found = {
                "unpacked": 1,
                "unpacked_macs": counts.dense_macs,
                "low_bit_macs": counts.low_bit_macs,
                "entries": counts.entries_a + counts.entries_b,
                "out_of_bound": counts.out_of_bound_a + counts.out_of_bound_b,
                "overflows": counts.overflows,
            }
        if self._checking:
            right = expected(request, call.a, call.b)
            exact = judge(route.integers(), right).exact and not wrong_floats(result, right)
            found |= {"checked": 1, "inexact": int(not exact)}
        self.tally.add(call, **found)
        if self.watch is not None:
            self.watch(call, request, counts)

    def writing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notice operators that write to weights, which have to be prepared again."""
        self._weights.written(tree_leaves((args, kwargs)))


_UNTIMED = Untimed()
