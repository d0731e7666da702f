"""A dispatch mode that computes operators pinned, and names those that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from accelsim.integer_mode.pinned.choices import CHOICES
from accelsim.integer_mode.pinned.exact_operators import is_exact
from accelsim.integer_mode.pinned.operators import FLOATS, OPERATORS
from accelsim.types import Request
from workloads.tracing import GemmCall
from workloads.tracing.modes import is_composite, is_fake, is_recorded
from workloads.tracing.operators import name_of

LEVEL = 2
"""What holds where everything is pinned: the same bits on every device, in any batch."""


class Pinning:
    """What of a model has the same bits everywhere, and what has not.

    Attributes
    ----------
    unpinned : Counter of str
        Calls of what is not pinned in the model, by its name.
    """

    def __init__(self) -> None:
        self.unpinned: Counter[str] = Counter()

    @property
    def level(self) -> int:
        """2 if all that ran is pinned; 0, which promises nothing, if something is not."""
        return 0 if self.unpinned else LEVEL

    def mode(self, matters: Callable[[], bool]) -> TorchDispatchMode:
        """Return a mode that pins the operators of the thread that enters it.

        Parameters
        ----------
        matters : callable
            Whether what is running belongs to the model, so that it is named if it is not pinned.
        """
        return _PinningMode(self.unpinned, matters)

    def name(self, what: str) -> None:
        """Count something that is not pinned.

        Parameters
        ----------
        what : str
            Its name.
        """
        self.unpinned[what] += 1

    def see(self, call: GemmCall, request: Request) -> None:
        """Name a GEMM whose scales span several tokens.

        Parameters
        ----------
        call : GemmCall
            The GEMM.
        request : Request
            How it is computed.
        """
        # Weights are the same in every batch.
        moving = (
            rounding
            for rounding, kind in (
                (request.rounding.a, request.names.a),
                (request.rounding.b, request.names.b),
            )
            if kind != "weights"
        )
        if any(rounding.granularity != "row" for rounding in moving):
            self.name(f"{call.site.place}: one scale for a whole operand")
        elif call.phase != "forward" and (call.site.op, call.phase) != ("linear", "grad_input"):
            self.name(f"{call.site.op}, {call.phase}: a scale spans the tokens")

    def summary(self) -> dict[str, Any]:
        """Return the level and what is not pinned, as JSON types."""
        return {"level": self.level, "unpinned": dict(self.unpinned)}

    def __str__(self) -> str:
        if not self.unpinned:
            return f"level {self.level}: the same bits on every device and in any batch"
        names = ", ".join(f"{name} ({calls:,})" for name, calls in self.unpinned.items())
        return f"the bits may depend on the batch and the device, not pinned: {names}"


class _PinningMode(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self, unpinned: Counter[str], matters: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unpinned, self._matters = unpinned, matters

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        later = is_recorded() or any(is_fake(x) for x in tree_leaves((args, kwargs)))
        if not later and not isinstance(func, HigherOrderOperator):
            pinned = _pinned(func, args, kwargs)
            if pinned is not None:
                result = _run(pinned, func, args, kwargs)
                if result is not NotImplemented:
                    return result
            elif is_composite(func):
                with self:
                    return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        # Division and addition are exact but for the forms that are pinned.
        if self._matters() and (later or not is_exact(func, args, kwargs, result)):
            self._unpinned[name_of(func)] += 1
        return result


def _pinned(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any] | None:
    """Return what computes an operator pinned, if there is something for these arguments."""
    schema: Any = func._schema
    namespace, _, name = schema.name.partition("::")
    if namespace != "aten":
        return None
    name = name if name.startswith("__") else name.rstrip("_")
    if name in OPERATORS and _takes_floats(args, kwargs):
        return OPERATORS[name]
    return CHOICES.get(name)


def _takes_floats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether there is a float among the tensors, and none of a type that is not pinned."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    floats = [x for x in tensors if x.is_floating_point() or x.is_complex()]
    return bool(floats) and all(x.dtype in FLOATS for x in floats)


def _run(
    pinned: Callable[..., Any], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Compute an operator pinned, and write the result to where the operator writes it."""
    schema = func._schema
    names = (argument.name for argument in schema.arguments)
    bound = {**dict(zip(names, args, strict=False)), **kwargs}
    out = bound.pop("out", None)
    if schema.name.endswith("_"):
        out = bound["self"]
    elif schema.is_mutable and out is None:
        return NotImplemented
    result = pinned(**bound)
    if out is None or result is NotImplemented:
        return result
    if out.shape != result.shape:
        out.resize_(result.shape)
    return out.copy_(result)
