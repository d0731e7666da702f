"""The context manager that runs a model's GEMMs on integers."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from accelsim.config.plans import Plan, load_plan
from accelsim.errors import DataError, InputError, UnsupportedError, unknown_name
from accelsim.integer_mode.kinds import by_kind, kinds
from accelsim.integer_mode.layers import LinearLayer, layer_of
from accelsim.integer_mode.pinned import Pinning, fold, folds, splitting
from accelsim.integer_mode.planned import Planned
from accelsim.integer_mode.replacing import ALL, Replacing, Selection, macs
from accelsim.integer_mode.routes import Opener, Routes, opener_of
from accelsim.integer_mode.tally import Tally
from accelsim.integer_mode.weights import Weights
from accelsim.measure.timing import Untimed
from accelsim.routes import GeneralRoute, SimulatedRoute, expected, judge, wrong_floats
from accelsim.settings import KINDS, PerKind
from accelsim.types import PerOperand, PreparedOperand, Request, Route, Side, StrategyChoice
from accelsim.unpack import Strategy
from gemm_backends import GemmBackend, load_backend
from workloads.gemm import OPS
from workloads.tracing import GemmCall
from workloads.tracing.modules import in_backward

GRANULARITIES = ("tensor", "row")
NONFINITE = ("error", "pass")


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
            or not self._weights.is_unchanged(weight, known.view, known.kept)
        ):
            return None
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        out = self.product(self._placing.linear(layer, rows, weight), known)
        if x.ndim > 2:
            out = out.view((*x.shape[:-1], out.shape[-1]))
        return out if bias is None else bias + out

    def product(self, call: GemmCall, known: LinearLayer | None = None) -> Tensor:
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
                if known is None:
                    return self._product(call)
                return self._computed(call, known.request, known.route, call.a, known.prepared)
        except DataError as error:
            name = f"{call.name} ({call.phase})"
            if self._passes(call):
                self.left.add(f"{name}: NaN or infinity in an operand", macs(call))
                if self._pinning is not None:
                    self._pinning.name(f"{name}: a product in floats")
                return call.a @ call.b.mT
            raise DataError(f"{name}: {error}") from error
        except UnsupportedError as error:
            raise InputError(f"{call.name} ({call.phase}): {error}") from error

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
        result = self._computed(call, request, route, a, b)
        if isinstance(b, PreparedOperand) and isinstance(a, Tensor):
            layer = layer_of(call, request, route, b, self._weights)
            if layer is not None:
                self._layers[call.site.layer] = layer
        return result

    def _computed(
        self,
        call: GemmCall,
        request: Request,
        route: Route,
        a: Tensor | PreparedOperand,
        b: Tensor | PreparedOperand,
    ) -> Tensor:
        result = route.run(a, b, _UNTIMED)
        # An error is raised here while its GEMM is known; the steps that follow wait for the
        # product anyway.
        route.check()
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

    def writing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notice operators that write to weights, which have to be prepared again."""
        self._weights.written(tree_leaves((args, kwargs)))


_UNTIMED = Untimed()


def integer_gemms(
    model: nn.Module,
    beta: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] = 95,
    *,
    plan: str | Path | Plan | None = None,
    granularity: str = "tensor",
    backend: str | GemmBackend | None = None,
    bits: int | PerOperand[int] | None = None,
    strategy: str | StrategyChoice | Strategy | None = None,
    digits: str = "balanced",
    block: int | None = None,
    exact: Literal["auto", "backend", "simulate"] = "auto",
    gemms: Sequence[str] = ("*",),
    skip: Sequence[str] = (),
    ops: Sequence[str] = OPS,
    zero_alpha: str = "nonzero",
    nonfinite: Literal["error", "pass"] | None = None,
    check: bool = False,
    invariant: bool = False,
    group: Any = None,
) -> IntegerGemms:
    """Run the GEMMs of a model on integers, forward and backward.

    Each operand is rounded to integers without clipping, unpacked into digits of b bits, multiplied
    on the backend, packed exactly, and dequantized with one rounding. Weights are rounded and
    unpacked once, until something writes to them. Leaving the context leaves the model as it was.

    Parameters
    ----------
    model : nn.Module
        Any model: plain, Hugging Face or timm, for inference, generation or training.
    beta, percentile : float or mapping
        How finely operands are rounded: `percentile` of the magnitudes becomes ``beta / 2``. One
        number, or by kind: ``weights``,
        ``activations``, ``attention`` and ``gradients``, and ``default`` for the rest. A `plan` may
        give every β that is needed.
    plan : str, Path or Plan, optional
        A plan, or its file; see `accelsim.config.plans`. What it says of a GEMM goes before the
        other arguments; what it says of unpacking holds where there is a backend.
    granularity : {"tensor", "row"}
        One scale for a tensor, or one for each row of both operands of a product: for each token
        and each output channel. In backward products operands are rounded along their own rows.
    backend : str, GemmBackend or None
        What multiplies; see `gemm_backends.load_backend`. Without one, the fused route of a backend
        if the operands are on a GPU that has one, and otherwise floats as with
        ``exact="simulate"``; the integers are the same.
    bits : int or PerOperand of int, optional
        Width of the digits, 2 to 16; of A and of B where they differ. 8 by default. A warning says
        so where a width has no effect, because nothing is unpacked without a backend.
    strategy : str, StrategyChoice, Strategy or None
        How operands are unpacked; see `accelsim.unpack.load_strategy`. ``fused`` is the backend's
        own way from floats to the product. By default ``mix`` with a backend.
    digits : {"balanced", "paper"}
        The digit system.
    block : int or None
        Columns of a K-block, for strategies that cut any; None for their default.
    exact : {"auto", "backend", "simulate"}
        ``simulate`` multiplies the same integers in floating point, in a type that is proved to
        hold every sum exactly: the same results, bit for bit, without a backend. ``backend`` uses
        only the named backend.
    gemms, skip, ops : sequence of str
        Which GEMMs; see `Selection`.
    zero_alpha : {"nonzero", "error"}
        What to do where more than `percentile` of an operand is zeros.
    nonfinite : {"error", "pass"}, optional
        What to do where an operand holds NaN or infinity: ``pass`` leaves the product in floating
        point, as the model has it, and counts it in ``tally.skipped``. By default it is an error,
        except for infinite gradients and the NaN that follow from them in the backward pass: a
        GradScaler checks for those.
    check : bool
        Compare every integer with an independent oracle's, and every float with the exact quotient;
        both are made from the operands as they are then, not from what was prepared of them.
    invariant : bool
        Compute everything between the GEMMs by functions and sums that are the same on every
        device and in any batch; see `accelsim.invariant`. Needs one scale for each row.
    group : ProcessGroup, optional
        Processes of `torch.distributed` over which K of every product with a weight is cut: the
        partial sums are added as integers, so that the bits are those of one process. All run the
        same model on the same data, and hold all weights. Needs one scale for each row.

    Returns
    -------
    IntegerGemms
        A context manager with a `tally`.

    Raises
    ------
    InputError
        If an option is wrong, or, when the model runs, if the backend refuses a product.
    DataError
        When the model runs, if an operand holds NaN or infinity that may not pass; the message
        names its GEMM.

    Notes
    -----
    Zeng, Sankaralingam, Singh, "IM-Unpack: Training and Inference with Arbitrarily Low Precision
    Integers", ICML 2024.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> model = torch.nn.Linear(4, 2, bias=False)
    >>> with accelsim.integer_gemms(model, beta=127) as mode:
    ...     model(torch.ones(3, 4)).sum().backward()
    >>> mode.tally.summary()["gemms"]
    2
    """
    if granularity not in GRANULARITIES:
        raise InputError(f"granularity: {unknown_name('value', granularity, GRANULARITIES)}")
    if nonfinite not in (None, *NONFINITE):
        raise InputError(f"nonfinite: {unknown_name('value', nonfinite, NONFINITE)}")
    if invariant and granularity != "row":
        raise InputError(
            f"invariant: found granularity {granularity!r}, whose scales span the batch; "
            "expected 'row'"
        )
    if group is not None and granularity != "row":
        raise InputError(f"group: found granularity {granularity!r}; expected 'row'")
    if beta is None and plan is None:
        raise InputError("give beta, or a plan")
    percentiles = by_kind(percentile, "percentile", at_most=100)
    betas = None if beta is None else by_kind(beta, "beta")
    rounding = PerKind[Mapping[str, Any]](
        *(
            {
                "percentile": percentiles.of(kind),
                "granularity": granularity,
                "zero_alpha": zero_alpha,
                **({} if betas is None else {"beta": betas.of(kind)}),
            }
            for kind in KINDS
        )
    )
    if bits is not None and backend is None and strategy is None:
        on_cpu = {x.device.type for x in model.parameters()} <= {"cpu"}
        if on_cpu or exact == "simulate":
            warnings.warn(
                f"bits={bits} has no effect: without a backend nothing is unpacked; name one, such "
                "as backend='emulator'",
                stacklevel=2,
            )
    given = 8 if bits is None else bits
    widths = given if isinstance(given, PerOperand) else PerOperand.both(given)
    loaded = load_backend(backend) if isinstance(backend, str) else backend

    def opener(how: Mapping[str, Any]) -> Opener:
        chosen = strategy if loaded is None else how["strategy"]
        whole = opener_of(exact, loaded, how["bits"], chosen, how["block"], check)
        return whole if group is None else splitting(whole, group)

    unpacking = {"bits": widths, "digits": digits, "strategy": strategy, "block": block}
    planned = Planned(
        load_plan(plan) if isinstance(plan, str | Path) else plan, rounding, unpacking, opener
    )
    planned.check()
    return IntegerGemms(
        model,
        planned,
        Selection(gemms, skip, ops),
        check,
        nonfinite,
        Pinning() if invariant else None,
    )


def invariant(
    model: nn.Module,
    beta: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] = 95,
    **options: Any,
) -> IntegerGemms:
    """Run a model so that the bits of a token's results depend on the token's sequence alone.

    They are the same whatever else is in the batch, for any padding, whether the prompt comes at
    once, in chunks or token by token with a cache, for any number of threads and with every
    backend. GEMMs are exact integers with one scale for each row; everything between them is
    computed from operations that IEEE 754 defines to the last bit, in an order that does not
    matter.

    Parameters
    ----------
    model : nn.Module
        Any model. Backward passes run, but what sums over tokens in them depends on the batch.
    beta, percentile : float or mapping
        As `accelsim.integer_gemms` takes them.
    **options
        The other arguments of `accelsim.integer_gemms`, except `granularity`, which is ``row``.

    Returns
    -------
    IntegerGemms
        A context manager with a `tally`, whose summary has the ``level`` that is promised, 2, and
        the calls of its operators that are ``unpinned``. If there are any, the level is 0.

    Raises
    ------
    InputError
        If an option is wrong.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU())
    >>> x = torch.randn(8, 64)
    >>> with torch.no_grad(), accelsim.invariant(model, beta={"weights": 127, "default": 63}) as m:
    ...     bool((model(x)[:1] == model(x[:1])).all())
    True
    >>> m.tally.summary()["level"]
    2
    """
    return integer_gemms(
        model, beta, percentile, **{"granularity": "row", **options}, invariant=True
    )
