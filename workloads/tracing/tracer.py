"""A context manager that sees every GEMM of a model, forward and backward, as it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

# Their rules register themselves.
import workloads.tracing.attention
import workloads.tracing.convolution  # noqa: F401
from accelsim.errors import InputError
from workloads.tracing.lineage import Lineage, Origin
from workloads.tracing.modules import RunningModules, checkpointing, watch
from workloads.tracing.multiplication import Multiplication, Product, recognize
from workloads.tracing.sites import Site, Sites

_GRADIENT_PHASE = {"a": "grad_input", "b": "grad_weight"}

_SECOND_FIRST = ("MmBackward0", "BmmBackward0")
"""Autograd nodes that compute the gradient of their second operand first."""


@dataclass(frozen=True)
class GemmCall:
    """One GEMM that the model is about to run, in the form ``C = A @ B.T``.

    Parameters
    ----------
    site : Site
        The product of the forward pass that it is, or whose gradient it computes.
    phase : str
        ``forward``, ``grad_input`` (of A) or ``grad_weight`` (of B).
    a, b : Tensor
        Its operands, views of the model's own tensors where that is possible.
    flipped : bool
        Whether the model's operator computes C.T: A is its second operand.
    repeat : int
        How many GEMMs of this phase the site had before.
    again : bool
        Whether it is a product of the forward pass that gradient checkpointing runs again.
    """

    site: Site
    phase: str
    a: Tensor
    b: Tensor
    flipped: bool = False
    repeat: int = 0
    again: bool = False

    @property
    def name(self) -> str:
        """A name that is unique in the model's run."""
        if self.phase == "forward":
            return self.site.name
        of = next(of for of, phase in _GRADIENT_PHASE.items() if phase == self.phase)
        return self.site.gradient_name(of, self.repeat)


class Tracer(ABC):
    """Follows a model while it runs, and hands every operator with GEMMs to `multiply`.

    Inside the context ``torch.compile`` is off (a compiled model runs eagerly) and so is the fused
    inference path of ``nn.TransformerEncoder``, since both hide their GEMMs.

    Parameters
    ----------
    model : nn.Module
        The model whose modules give names; its parameters and buffers are the weights.
    shapes_only : bool
        Give the operands of fused attention on the device ``meta``, without their values, which
        would have to be computed.

    Attributes
    ----------
    skipped : Counter
        Operators whose GEMMs cannot be told, with the reason, and how often each ran.
    recomputed : int
        GEMMs of the forward pass that ran again in the backward pass.
    """

    def __init__(self, model: nn.Module, shapes_only: bool = False) -> None:
        self.model = model
        self._shapes_only = shapes_only
        self.skipped: Counter[str] = Counter()
        self.recomputed = 0
        self._sites = Sites()
        self._lineage = Lineage()
        self._running = RunningModules()
        self._exit = ExitStack()
        self._active = False

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
            Runs the operator as the model has it and returns its result.
        multiplication : Multiplication
            Its GEMMs as the operator has them, and how its result is made of theirs.
        calls : iterable of GemmCall or None
            The same GEMMs with their place in the model, in the same order; to be gone through
            once. None stands for one whose place is unknown.
        """

    def __enter__(self) -> Self:
        if self._active:
            raise InputError("the context is entered already; make another one for the inner block")
        self._sites = Sites()
        with ExitStack() as stack:
            stack.callback(setattr, self, "_active", False)
            self._active = True
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.callback(
                torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled()
            )
            torch.backends.mha.set_fastpath_enabled(False)
            for handle in watch(self.model, self._running, self._mark_parameters):
                stack.callback(handle.remove)
            for buffer in self.model.buffers():
                self._lineage.mark(buffer, Origin(weight=True))
            for module in self.model.modules():
                self._mark_parameters(module)
            # Weights that autocast converted before descend from nothing that is known.
            torch.clear_autocast_cache()
            stack.enter_context(_Mode(self._dispatch))
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, traceback)
        for site in self._sites:
            site.settle()

    def _mark_parameters(self, module: nn.Module) -> None:
        """Know a module's own parameters as weights, also those that were put in its place."""
        for parameter in module._parameters.values():
            if parameter is not None and not self._lineage.of(parameter).lasting:
                self._lineage.mark(parameter, Origin(weight=True, lasting=True))

    def _dispatch(
        self, mode: _Mode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        multiplication = recognize(func, args, kwargs)
        if isinstance(multiplication, Multiplication):
            if self._shapes_only and multiplication.finish is None:
                multiplication = recognize(
                    func, *tree_map_only(Tensor, _without_values, (args, kwargs))
                )
                assert isinstance(multiplication, Multiplication), "values make no difference"
            results: list[tuple[Site, bool]] = []
            calls = self._calls(multiplication.products, results)
            out = self.multiply(lambda: func(*args, **kwargs), multiplication, calls)
            for site, provisional in results:
                if provisional and isinstance(out, Tensor):
                    self._lineage.mark(out, Origin(product=site))
            return out
        if multiplication is not None:
            self.skipped[f"{func.overloadpacket}: {multiplication}"] += 1
        elif _is_composite(func):
            with mode:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        product = self._lineage.follow(func, args, out)
        if product is not None:
            product.provisional = False
        return out

    def _calls(
        self, products: Iterable[Product], results: list[tuple[Site, bool]]
    ) -> Iterator[GemmCall | None]:
        for product in products:
            call = self._call(product)
            if call is not None and not call.again:
                results.append((call.site, call.site.provisional))
            yield call

    def _call(self, product: Product) -> GemmCall | None:
        node = torch._C._current_autograd_node()
        if node is None:
            return self._forward(product, _newest_node())
        if product.gradient_of is None and self._runs_again(node):
            return self._again(product, _newest_node())
        return self._backward(product, node._sequence_nr(), node.name())

    def _runs_again(self, node: Any) -> bool:
        """Whether the forward pass is run inside the backward pass.

        With ``create_graph`` the gradient of the backward pass is enabled too, where a node that
        is no Python function multiplies for itself, unless checkpointing is at work.
        """
        if self._running.again or not torch.is_grad_enabled():
            return self._running.again
        return isinstance(node, torch.autograd.function.BackwardCFunction) or checkpointing()

    def _place(self, product: Product) -> tuple[str, bool, bool]:
        """Return the op of a forward product, whether to flip it, and whether that is a guess."""
        if product.op is not None:
            return product.op, False, False
        a, b = self._lineage.of(product.a), self._lineage.of(product.b)
        if a.weight or b.weight:
            return "linear", a.weight and not b.weight, False
        if a.probabilities or b.probabilities:
            return "pv", b.probabilities and not a.probabilities, False
        return "qk", False, True

    def _forward(self, product: Product, node: int) -> GemmCall:
        op, flip, guess = self._place(product)
        a, b = _operands(product, op, flip)
        site = self._sites.add(
            self._running.innermost, op, a, b, node, flipped=flip, provisional=guess
        )
        return GemmCall(site, "forward", a, b, flip)

    def _again(self, product: Product, node: int) -> GemmCall | None:
        op, flip, _ = self._place(product)
        a, b = _operands(product, op, flip)
        site = self._sites.recompute(self._running.innermost, op, a, b, node)
        self.recomputed += 1
        return None if site is None else GemmCall(site, "forward", a, b, flip, again=True)

    def _backward(self, product: Product, node: int, name: str) -> GemmCall | None:
        for site in self._sites.of_node(node):
            a, b = _operands(product, site.op, flip=False)
            if product.gradient_of is None:
                second_first = name in _SECOND_FIRST
                found = site.gradient(a, b, "a" if second_first == site.flipped else "b")
            else:
                found = (product.gradient_of, False) if site.op == product.op else None
            if found is not None:
                of, flip = found
                repeat = site.count_gradient(of)
                a, b = (b, a) if flip else (a, b)
                return GemmCall(site, _GRADIENT_PHASE[of], a, b, flip, repeat)
        self.skipped[
            f"{name}: a gradient of a gradient, or of something that did not run inside the context"
        ] += 1
        return None


class _Mode(TorchDispatchMode):
    """Hands every operator to a function."""

    def __init__(self, dispatch: Callable[..., Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dispatch = dispatch

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._dispatch(self, func, args, kwargs or {})


_COMPOSITE: dict[Any, bool] = {}


def _is_composite(func: Any) -> bool:
    """Whether an operator is only made of others; inference mode shows these whole."""
    if func not in _COMPOSITE:
        made_of, *kernels = (
            torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)
            for key in ("CompositeImplicitAutograd", "CPU", "CUDA")
        )
        _COMPOSITE[func] = made_of and not any(kernels) and not func.is_view
    return _COMPOSITE[func]


def _newest_node() -> int:
    """Return the sequence number of the autograd node that was made last in this thread.

    An operator's node is made before the operator runs.
    """
    number: int = torch._C._autograd._get_sequence_nr()
    return number - 1


def _without_values(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _operands(product: Product, op: str, flip: bool) -> tuple[Tensor, Tensor]:
    a, b = (product.b, product.a) if flip else (product.a, product.b)
    if op == "linear" and a.ndim == 3 and a.shape[0] == 1:
        return a[0], b[0]
    return a, b
