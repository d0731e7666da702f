"""Observation of operators: a dispatch mode, and ways to decompose them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from accelsim.errors import InputError
from workloads.tracing.operators import has_kernel


class OperatorMode(TorchDispatchMode):
    """Hands every operator on plain tensors to a function, in the thread that enters it.

    Parameters
    ----------
    owner : object
        Whose mode it is.
    dispatch : callable
        Takes the mode, an operator and its arguments, and returns its result.
    hidden : callable
        Takes an operator whose work cannot be seen, its arguments and why, and returns its result.
    linear : callable
        Takes the arguments of ``aten::linear`` before all else, and returns its result or None.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: tracing has turned compilation off, and skipping it costs every operator time."""
        return False

    def __init__(
        self,
        owner: Any,
        dispatch: Callable[..., Any],
        hidden: Callable[..., Any],
        linear: Callable[[tuple[Any, ...]], Tensor | None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.owner = owner
        self._run, self._hidden, self._linear = dispatch, hidden, linear

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if is_recorded():
            return self._hidden(func, args, kwargs or {}, "recorded, to run later")
        if func is _LINEAR and not kwargs:
            out = self._linear(args)
            if out is not None:
                return out
        if isinstance(func, HigherOrderOperator):
            return self._hidden(func, args, kwargs or {}, "takes functions, which are not followed")
        for kind in types:
            if _takes_itself_apart(kind):
                # A subclass takes itself apart first: its plain tensors come here afterwards.
                return NotImplemented
        for x in args:
            own: Any = type(x)
            if _takes_itself_apart(own):
                return self._hidden(func, args, kwargs or {}, "an operand is not a plain tensor")
        return self._run(self, func, args, kwargs or {})


_LINEAR = torch.ops.aten.linear.default


@functools.cache
def _takes_itself_apart(kind: Any) -> bool:
    """Whether a type is one of tensors with an own way to run operators."""
    if not issubclass(kind, Tensor):
        return False
    handler = getattr(kind, "__torch_dispatch__", None)
    own = handler is not None and handler is not torch._C._disabled_torch_dispatch_impl
    return own and not issubclass(kind, FakeTensor)


def is_recorded() -> bool:
    """Whether operators are recorded for later, and have to be those that the model calls.

    What else computed their results would be recorded as a constant.

    Raises
    ------
    InputError
        If TorchScript records: it takes some operators for constants that a mode has seen.
    """
    if _torchscript() is not None:
        raise InputError(
            "torch.jit.trace cannot record a model inside of the context; leave it before, or "
            "record by torch.export"
        )
    return _mode_of(_RECORDING) is not None


_mode_of, _torchscript = torch._C._get_dispatch_mode, torch._C._get_tracing_state
_RECORDING = torch._C._TorchDispatchModeKey.PROXY


def is_fake(value: Any) -> bool:
    """Whether a value is a tensor without entries, though it claims to be on a device with them."""
    return isinstance(value, FakeTensor)


def is_seen_by(owner: Any) -> bool:
    """Whether an `OperatorMode` of this owner sees what the current thread runs."""
    modes = _get_current_dispatch_mode_stack()
    return any(isinstance(mode, OperatorMode) and mode.owner is owner for mode in modes)


def inside(mode: TorchDispatchMode, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run an operator's own kernel, so that the mode sees the operators that it is made of."""
    key = _kernel(func, args, kwargs)
    if key is None:
        return func(*args, **kwargs)
    with mode:
        return func._op_dk(key, *args, **kwargs)


def _kernel(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return the dispatch key of the kernel that takes plain tensors on their device, if any."""
    tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    names = {"cpu": "CPU", "cuda": "CUDA"}
    devices = {names.get(x.device.type, "") for x in tensors}
    if len(devices) != 1 or any(x.layout != torch.strided or x.is_nested for x in tensors):
        return None
    for name in (*devices, "CompositeExplicitAutograd"):
        if name and has_kernel(func, name):
            return getattr(torch._C.DispatchKey, name)
    return None


_COMPOSITE: dict[Any, bool] = {}


def is_composite(func: Any) -> bool:
    """Whether an operator consists only of others; inference mode shows these whole."""
    if func not in _COMPOSITE:
        made_of, *kernels = (
            has_kernel(func, key) for key in ("CompositeImplicitAutograd", "CPU", "CUDA")
        )
        _COMPOSITE[func] = made_of and not any(kernels) and not func.is_view
    return _COMPOSITE[func]
