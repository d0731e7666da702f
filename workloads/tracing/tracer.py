"""A context manager that sees every GEMM of a model, forward and backward, as it runs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._pytree import tree_leaves, tree_map_only

# Their rules register themselves.
import workloads.tracing.attention
import workloads.tracing.convolution
import workloads.tracing.grouped
import workloads.tracing.matrices  # noqa: F401
from accelsim.errors import InputError
from workloads.tracing import modes
from workloads.tracing.facts import facts_of
from workloads.tracing.lineage import Lineage, Origin
from workloads.tracing.modules import RunningModules, is_inference, watch
from workloads.tracing.multiplication import (
    GemmOperands,
    Multiplication,
    recognize,
    unusual,
)
from workloads.tracing.operators import holds_no_gemm, is_factorization, is_hidden, name_of
from workloads.tracing.passing import Passing, passing_for
from workloads.tracing.placing import GemmCall, Placing
from workloads.tracing.skipped import Skipped, operator_macs, product_macs, stays
from workloads.tracing.steps import STEPS, Whole, is_hiding, is_plain_linear, like_fused, shown


class Tracer(ABC):
    """Follows a model while it runs, and hands every operator with GEMMs to `multiply`.

    Inside the context ``torch.compile`` is off: a compiled model runs eagerly. Layers of the model
    whose products would be hidden in one operator run as their steps: LSTM, GRU, bilinear layers
    and the fused inference path of ``nn.TransformerEncoder``. A module that runs in another thread
    is followed there.

    Parameters
    ----------
    model : nn.Module
        The model whose modules give names; its parameters and buffers are the weights.
    shapes_only : bool
        Give the operands of fused attention on the device ``meta``, without their values, which
        would have to be computed.

    Attributes
    ----------
    left : Skipped
        What stays in floating point, with the reason: GEMMs that cannot be told, and operators
        that are not known to hold none.
    """

    def __init__(self, model: nn.Module, shapes_only: bool = False) -> None:
        self.model = model
        self._shapes_only = shapes_only
        self.left = Skipped()
        self._lineage = Lineage()
        self._running = RunningModules()
        self._placing = Placing(self._lineage, self._running)
        self._passing: Passing | None = None
        self._shapes: dict[Any, Multiplication] = {}
        self._exit = ExitStack()
        self._active = False
        self._thread = 0

    @property
    def skipped(self) -> Counter[str]:
        """Number of calls that stayed in floating point, by reason."""
        return self.left.calls

    @property
    def recomputed(self) -> int:
        """GEMMs of the forward pass that ran again in the backward pass."""
        return self._placing.recomputed

    @abstractmethod
    def multiply(
        self,
        run: Callable[[], Any],
        multiplication: Multiplication,
        calls: Iterable[GemmCall | None],
    ) -> Any:
        """Do the work of one operator.

        Parameters
        ----------
        run : callable
            Runs the operator unchanged and returns its result.
        multiplication : Multiplication
            Its GEMMs as the operator has them, and how its result is made of theirs.
        calls : iterable of GemmCall or None
            The same GEMMs with their place in the model, in the same order; to be gone through
            once. None for one whose place is unknown.
        """

    def takes(self, layer: str, ops: Sequence[str]) -> bool:
        """Whether a product of a layer, of one of these ops, may be wanted; all are by default."""
        return True

    def linear(self, layer: str, x: Any, weight: Any, bias: Any) -> Tensor | None:
        """Do the work of a plain linear layer without autograd, if that was done before.

        Parameters
        ----------
        layer : str
            Its name.
        x, weight, bias : Tensor or None
            The arguments of ``aten::linear``, of any kind.

        Returns
        -------
        Tensor or None
            None to have the operator handled as all others are.
        """
        return None

    def stepwise(self, steps: Callable[[], Any], run: Callable[[], Any]) -> Any:
        """Do the work of an operator that hides its GEMMs, which `steps` shows.

        The steps are gone through for their GEMMs, and the operator gives the result.
        """
        steps()
        return run()

    def keeps_settings(self, name: str, module: nn.Module) -> bool:
        """Whether a module runs with PyTorch's settings as they are, without `settings`."""
        return not is_hiding(module)

    def settings(self, stack: ExitStack, name: str, module: nn.Module) -> None:
        """Change settings of PyTorch on `stack`, which ends with the module."""
        if is_hiding(module) and self._takes_any(name, module):
            stack.enter_context(shown(module))

    def writing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the arguments of an operator that is about to write to some of them."""
        return  # only who keeps something of a tensor's values has to know

    def __enter__(self) -> Self:
        if self._active:
            raise InputError("the context is entered already; make another one for the inner block")
        self._placing = Placing(self._lineage, self._running)
        self._thread = threading.get_ident()
        with ExitStack() as stack:
            stack.callback(setattr, self, "_active", False)
            self._active = True
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            self._running.begin()
            for handle in watch(self.model, self._running, self._entering, self._finished):
                stack.callback(handle.remove)
            for module in self.model.modules():
                if type(module) is nn.MultiheadAttention:
                    handle = module.register_forward_hook(like_fused, with_kwargs=True)
                    stack.callback(handle.remove)
            for buffer in self.model.buffers():
                self._lineage.mark(buffer, Origin(weight=True))
            for module in self.model.modules():
                self._mark_parameters(module)
            self._passing = passing_for(self.model)
            if self._passing is not None:
                stack.callback(self._passing.close)
                self._lineage.listen(self._passing.mark)
                stack.callback(self._lineage.listen, None)
            # Weights that autocast converted before descend from nothing that is known.
            torch.clear_autocast_cache()
            self._push(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    def _push(self, stack: ExitStack) -> None:
        """Have the current thread's operators come here until `stack` ends."""
        mode = modes.OperatorMode(self, self._dispatch, self._pass_through, self._linear)
        stack.enter_context(mode)
        if self._passing is not None:
            self._passing.enter(stack, mode, self._running.ends)

    def _entering(self, name: str, module: nn.Module) -> Callable[[], None]:
        """Prepare for a module that is about to run, and return what puts things back."""
        self._mark_parameters(module)
        elsewhere = not self._running.entries and threading.get_ident() != self._thread
        if not elsewhere and self.keeps_settings(name, module):
            return Whole() if is_plain_linear(module) else _nothing
        with ExitStack() as stack:
            if elsewhere and not modes.is_seen_by(self):
                self._push(stack)
            self.settings(stack, name, module)
            return stack.pop_all().close

    def _takes_any(self, name: str, module: nn.Module) -> bool:
        """Whether a product of a module or one of its children may be wanted."""
        inner = (f"{name}.{child}".strip(".") for child, _ in module.named_modules())
        return any(self.takes(layer, ("linear", "qk", "pv")) for layer in inner)

    def _finished(self, result: Any) -> None:
        """See to it that a backward pass in a thread that is not followed is noticed."""

        def check(_: Any) -> None:
            if self._active and not modes.is_seen_by(self):
                self.left.add("a backward pass in another thread than the context's", None)

        if not torch._C._are_functorch_transforms_active():
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor) and tensor.grad_fn is not None:
                    tensor.grad_fn.register_prehook(check)

    def _mark_parameters(self, module: nn.Module) -> None:
        """Know a module's own parameters as weights, also those that were put in its place."""
        for parameter in module._parameters.values():
            if parameter is not None and not self._lineage.of(parameter).lasting:
                self._lineage.mark(parameter, Origin(weight=True, lasting=True))

    def _pass_through(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], why: str
    ) -> Any:
        """Run an operator that may hold anything, and record that."""
        out = func(*args, **kwargs)
        if isinstance(func, HigherOrderOperator) or not holds_no_gemm(func):
            macs = operator_macs(func, args, kwargs, out)
            self.left.add(stays(name_of(func), why), macs)
        return out

    def _dispatch(
        self,
        mode: modes.OperatorMode,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self._running.operator()
        facts = facts_of(func)
        if facts.writes:
            self.writing(args, kwargs)
        if facts.passes:
            if self._passing is not None:
                self._passing.tell(facts)
            out = func(*args, **kwargs)
            if not facts.is_view and (facts.is_softmax or self._lineage.knows(args)):
                self._lineage.follow(func, args, out)
            return out
        found = recognize(func, args, kwargs)
        if isinstance(found, Multiplication):
            return self._multiply(found, func, args, kwargs)
        if found is not None:
            out = func(*args, **kwargs)
            macs = operator_macs(func, args, kwargs, out)
            self.left.add(stays(name_of(func), found), macs)
        elif func.overloadpacket in STEPS:
            out = self._stepwise(mode, func, args, kwargs)
        elif modes.is_composite(func):
            why = _HIDDEN if is_hidden(func) else unusual((args, kwargs))
            if why is not None:  # whose kernel is another one
                return self._pass_through(func, args, kwargs, why)
            with mode:
                return func.decompose(*args, **kwargs)
        else:
            out = self._look_inside(mode, func, args, kwargs)
        self._lineage.follow(func, args, out)
        return out

    def _linear(self, args: tuple[Any, ...]) -> Tensor | None:
        """Run a plain linear layer whole as it ran before, if `linear` does."""
        running = self._running
        entries = running.entries
        if not entries or type(entries[-1].undo) is not Whole or not is_inference():
            return None
        running.operator()
        x, weight, *bias = args
        out = self.linear(entries[-1].name, x, weight, bias[0] if bias else None)
        if out is not None:
            running.seen += 1
        return out

    def _multiply(
        self,
        multiplication: Multiplication,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self._running.seen += 1
        if self._shapes_only and multiplication.finish is None:
            multiplication = self._without_values(func, args, kwargs)
        of_weights: list[bool] = []
        calls = self._calls(multiplication.products, of_weights)
        out = self.multiply(lambda: func(*args, **kwargs), multiplication, calls)
        if of_weights == [True]:
            self._placing.finished(out)
        return out

    def _without_values(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Multiplication:
        """Return the products of a fused kernel with operands that have only shapes."""
        key = id(func), *map(_shape, args), *kwargs, *map(_shape, kwargs.values())
        found = self._shapes.get(key)
        if found is None:
            again = recognize(func, *tree_map_only(Tensor, _on_meta, (args, kwargs)))
            assert isinstance(again, Multiplication), "values make no difference"
            found = Multiplication(list(again.products))
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[key] = found
        return found

    def _stepwise(
        self,
        mode: modes.OperatorMode,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        def steps() -> Any:
            with mode:
                return STEPS[func.overloadpacket](*args, **kwargs)

        return self.stepwise(steps, lambda: func(*args, **kwargs))

    def _calls(
        self, products: Iterable[GemmOperands], of_weights: list[bool]
    ) -> Iterator[GemmCall | None]:
        for product in products:
            of_weights.append(self._placing.of_weights(product))
            call = self._placing.call(product)
            if isinstance(call, str):
                self.left.add(call, product_macs(product))
            yield None if isinstance(call, str) else call

    def _look_inside(
        self,
        mode: modes.OperatorMode,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run an operator that may hold GEMMs, and record that unless its kernel showed them."""
        before = self._running.seen
        if is_factorization(func):
            out = func(*args, **kwargs)
        else:
            out = modes.inside(mode, func, args, kwargs)
        if self._running.seen == before:
            macs = operator_macs(func, args, kwargs, out)
            self.left.add(stays(name_of(func), *_why(func)), macs)
        return out


_HIDDEN = "multiplies matrices in a kernel of its own"


def _nothing() -> None:
    """Put nothing back."""


def _why(func: Any) -> tuple[str, ...]:
    return () if is_hidden(func) else ("not known to hold no GEMM",)


_MOST_SHAPES = 256


def _shape(value: Any) -> Any:
    return (value.shape, value.dtype) if isinstance(value, Tensor) else value


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
