"""Run a model with chosen GEMMs computed in another way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import _disable_current_modes

from accelsim.errors import InputError, unknown_name
from workloads.gemm import OPS
from workloads.tracing import GemmCall, Multiplication, Product, Tracer


@dataclass(frozen=True)
class Selection:
    """Which GEMMs of a model are replaced, forward and backward alike.

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

    def wants(self, call: GemmCall) -> bool:
        """Whether a GEMM is to be replaced."""
        name = call.site.place
        return call.site.op in self.ops and (
            any(fnmatchcase(name, glob) for glob in self.gemms)
            and not any(fnmatchcase(name, glob) for glob in self.skip)
        )


ALL = Selection()


class Replacing(Tracer):
    """Computes the chosen GEMMs of a model with `product`; the model itself is not changed.

    Inside the context, fused attention is off, so that its two products can be replaced. Of two
    contexts, one inside the other, the inner one replaces what it has chosen, the outer the rest.

    Parameters
    ----------
    model : nn.Module
        Any model; see `Tracer`.
    selection : Selection
        Which GEMMs.
    """

    def __init__(self, model: nn.Module, selection: Selection = ALL) -> None:
        super().__init__(model)
        self._selection = selection
        self._unfused = ExitStack()

    @abstractmethod
    def product(self, call: GemmCall) -> Tensor:
        """Return ``A @ B.T`` of a chosen GEMM, in the type of A."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
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

    def multiply(
        self,
        run: Callable[[], Any],
        multiplication: Multiplication,
        calls: Iterable[GemmCall | None],
    ) -> Any:
        """Make an operator's result of its products, if any of them is chosen."""
        if multiplication.finish is None:
            raise InputError("fused attention was forced inside the context, which hides its GEMMs")
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
        if not self._selection.wants(call):
            return False
        if call.a.is_floating_point() and call.b.is_floating_point():
            return True
        self.skipped[f"{call.name}: operands of {call.a.dtype} are no floating-point numbers"] += 1
        return False

    def _placed(self, product: Product, call: GemmCall) -> Tensor:
        """Return a replaced product in the shape that its operator has."""
        # What the product is made of is no GEMM of the model, for an outer context as well.
        with _disable_current_modes():
            result = self.product(call)
        shape = (*product.a.shape[:-1], product.b.shape[-2])
        return (result.mT if call.flipped else result).reshape(shape)
