"""Run a model with chosen GEMMs computed differently."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends, sdpa_kernel
from torch.utils._python_dispatch import _disable_current_modes

from accelsim.errors import InputError, unknown_name
from accelsim.integer_mode.unmatched import Globs
from workloads.gemm import OPS
from workloads.tracing import GemmCall, GemmOperands, Multiplication, Skipped, Tracer, place
from workloads.tracing.modes import is_fake


@dataclass(frozen=True)
class Selection:
    """The GEMMs of a model that are replaced, forward and backward alike.

    Parameters
    ----------
    gemms : sequence of str
        Globs of the forward GEMMs' places, such as ``*.q_proj`` or ``model.layers.0.*``; they hold
        for every time that a layer runs.
    skip : sequence of str
        Globs of those that are left in floating point, such as ``lm_head``.
    ops : sequence of str
        Of `workloads.OPS`.
    """

    gemms: Sequence[str] = ("*",)
    skip: Sequence[str] = ()
    ops: Sequence[str] = OPS

    def __post_init__(self) -> None:
        for op in self.ops:
            if op not in OPS:
                raise InputError(unknown_name("op", op, OPS))

    def wants_place(self, layer: str, op: str) -> bool:
        """Whether the GEMMs of a layer and an op are to be replaced.

        Parameters
        ----------
        layer : str
            The name of a module.
        op : str
            ``linear``, ``qk`` or ``pv``.
        """
        name = place(layer, op)
        return op in self.ops and (
            any(fnmatchcase(name, glob) for glob in self.gemms)
            and not any(fnmatchcase(name, glob) for glob in self.skip)
        )


ALL = Selection()


class Replacing(Tracer):
    """Computes the chosen GEMMs of a model with `product`; the model itself is not changed.

    Attention whose products are chosen runs unfused, so that they can be replaced. Contexts nest:
    the inner one replaces its selection, the outer one what remains. A glob that matches no GEMM is
    an error: at the beginning of the context if it matches nothing in the model, and at its end if
    what it matches had no GEMM.

    Parameters
    ----------
    model : nn.Module
        Any model; see `Tracer`.
    selection : Selection
        Which GEMMs.
    planned : sequence of str
        Globs of a plan.

    Attributes
    ----------
    not_chosen : Skipped
        GEMMs that stay in floating point since the selection leaves them out, by their place.
    """

    def __init__(
        self, model: nn.Module, selection: Selection = ALL, planned: Sequence[str] = ()
    ) -> None:
        # Products of a fused kernel cannot be replaced, so their shapes are all that is wanted.
        super().__init__(model, shapes_only=True)
        self.not_chosen = Skipped()
        self._selection = selection
        globs = {"gemms": selection.gemms, "skip": selection.skip, "plan": planned}
        self._globs = Globs(globs)
        self._wanted: dict[tuple[str, str], bool] = {}
        self._unfuses: dict[str, bool] = {}
        self._unfusing = False
        self._unfused = ExitStack()

    @abstractmethod
    def product(self, call: GemmCall) -> Tensor:
        """Return ``A @ B.T`` of a chosen GEMM, in the type of A.

        Parameters
        ----------
        call : GemmCall
            The GEMM with its operands.
        """

    def takes(self, layer: str, ops: Sequence[str]) -> bool:
        """Whether a product of a layer, of one of these ops, is chosen."""
        return any(self._selection.wants_place(layer, op) for op in ops)

    def __enter__(self) -> Self:
        self._globs.expect(self.model)
        self._backends = _cur_sdpa_kernel_backends()
        with ExitStack() as stack:
            self._attend(stack, "")
            super().__enter__()
            self._unfused = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._unfused:
            super().__exit__(kind, error, traceback)
        if error is None:
            self._globs.check()

    def settings(self, stack: ExitStack, name: str, module: nn.Module) -> None:
        """Run a module's attention unfused if one of its products is chosen."""
        super().settings(stack, name, module)
        self._attend(stack, name)

    def keeps_settings(self, name: str, module: nn.Module) -> bool:
        """Whether a module's attention runs as it would, and nothing else is to be changed."""
        return self._is_unfused(name) == self._unfusing and super().keeps_settings(name, module)

    def _attend(self, stack: ExitStack, layer: str) -> None:
        unfused = self._is_unfused(layer)
        if unfused != self._unfusing:
            stack.callback(setattr, self, "_unfusing", self._unfusing)
            self._unfusing = unfused
            stack.enter_context(sdpa_kernel(SDPBackend.MATH if unfused else self._backends))

    def _is_unfused(self, layer: str) -> bool:
        """Whether a product of a layer's attention is chosen."""
        found = self._unfuses.get(layer)
        if found is None:
            found = self._unfuses[layer] = self.takes(layer, ("qk", "pv"))
        return found

    def stepwise(self, steps: Callable[[], Any], run: Callable[[], Any]) -> Any:
        """Run an operator step by step if one of its products is chosen, else unchanged."""
        if self.takes(self._running.innermost, ("linear",)):
            return steps()
        return super().stepwise(steps, run)

    def multiply(
        self,
        run: Callable[[], Any],
        multiplication: Multiplication,
        calls: Iterable[GemmCall | None],
    ) -> Any:
        """Compute an operator's result from its products, if any of them is chosen."""
        if multiplication.finish is None:
            for call in calls:
                if call is not None and self._chooses(call):
                    why = "a fused kernel was called, where attention was to run unfused"
                    self.left.add(f"{call.name}: {why}", macs(call))
            return run()
        products = list(multiplication.products)
        chosen = [call if call and self._chooses(call) else None for call in calls]
        if not any(chosen):
            return run()
        return multiplication.finish(
            [
                product.a @ product.b.mT if call is None else self._placed(product, call)
                for product, call in zip(products, chosen, strict=True)
            ]
        )

    def _chooses(self, call: GemmCall) -> bool:
        if not self._wants(call.site.layer, call.site.op):
            self.not_chosen.add(place(call.site.layer, call.site.op), macs(call))
            return False
        if is_fake(call.a) or is_fake(call.b):
            self.left.add(f"{call.name}: operands without values", macs(call))
            return False
        if call.a.is_floating_point() and call.b.is_floating_point():
            return True
        # Integer products are unchanged; they do not count as left in floats.
        in_floats = call.a.is_floating_point() or call.a.is_complex()
        reason = f"{call.name}: operands of {call.a.dtype} are not floating-point numbers"
        self.left.add(reason, macs(call) if in_floats else 0)
        return False

    def _wants(self, layer: str, op: str) -> bool:
        wanted = self._wanted.get((layer, op))
        if wanted is None:
            self._globs.see(place(layer, op))
            wanted = self._wanted[layer, op] = self._selection.wants_place(layer, op)
        return wanted

    def _placed(self, product: GemmOperands, call: GemmCall) -> Tensor:
        """Return a replaced product in the shape and with the strides that its operator has."""
        # The parts of the product are not GEMMs of the model, for an outer context either.
        if torch._C._len_torch_dispatch_stack():
            with _disable_current_modes():
                result = self.product(call)
        else:  # entering that takes as long as all else
            result = self.product(call)
        shape = (*product.a.shape[:-1], product.b.shape[-2])
        return (result.mT if call.flipped else result).reshape(shape).contiguous()


def macs(call: GemmCall) -> int:
    """Return the multiplications of a GEMM."""
    return call.a.numel() * int(call.b.shape[-2])
