"""Operators and modules that hide GEMMs, and the steps that show them."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

LINEAR = (nn.Linear, nn.MultiheadAttention)
"""Modules whose products with a weight are activations, whatever their input descends from."""

_FAST_PATHS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


@contextmanager
def shown(module: nn.Module) -> Iterator[None]:
    """Have a module run as steps where it could run as one operator.

    These are recurrent layers in a kernel of oneDNN or cuDNN, and what in inference takes the fused
    path of ``nn.TransformerEncoder``. Nothing else runs in another way for it.
    """
    changes: list[tuple[Callable[[], bool], Callable[[bool], Any]]] = []
    if isinstance(module, nn.RNNBase):
        changes.append((torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled))
        changes.append((torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled))
    if isinstance(module, _FAST_PATHS):
        mha = torch.backends.mha
        changes.append((mha.get_fastpath_enabled, mha.set_fastpath_enabled))
    before = [get() for get, _ in changes]
    try:
        for _, put in changes:
            put(False)
        yield
    finally:
        for (_, put), value in zip(changes, before, strict=True):
            put(value)


def is_hiding(module: nn.Module) -> bool:
    """Whether `shown` makes a difference to a module."""
    return isinstance(module, (nn.RNNBase, *_FAST_PATHS))


def like_fused(module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
    """Give attention that ran as steps the strides that its fused path would have given it.

    A hook behind a module's forward. PyTorch's own conditions decide: attention is called once more
    as it is, up to its first product.
    """
    if type(module) is not nn.MultiheadAttention or torch.is_grad_enabled():
        return None
    seen = _UpToTheFirstProduct()  # type: ignore[no-untyped-call]
    with _disable_current_modes(), suppress(_FirstProduct), seen:
        module.forward(*args, **kwargs)
    return (result[0].contiguous(), *result[1:]) if seen.fused else None


class _FirstProduct(Exception):  # noqa: N818
    """Ends a call that is made to see its first product."""


class _UpToTheFirstProduct(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Ends a call of attention at its first product, and says whether that is the fused path."""

    fused = False

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused = func is torch.ops.aten._native_multi_head_attention.default
        if self.fused or func.overloadpacket in _PRODUCTS:
            raise _FirstProduct
        return func(*args, **(kwargs or {}))


_PRODUCTS = {getattr(torch.ops.aten, name) for name in ("linear", "addmm", "mm", "bmm", "matmul")}


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a module runs ``aten::linear`` and nothing else, and autograd takes no part in it.

    Who follows the module has one hook of each kind on it; there must be no others.
    """
    return (
        type(module) is nn.Linear
        and not torch.is_grad_enabled()
        and type(module._parameters.get("weight")) is nn.Parameter
        and len(module._forward_hooks) == 1
        and len(module._forward_pre_hooks) == 1
        and "forward" not in module.__dict__
        and not torch._C._are_functorch_transforms_active()
    )


class Whole:
    """Has operators seen as they are called, not as autograd takes them apart, until called."""

    __slots__ = ("_guard",)

    def __init__(self) -> None:
        guard: Any = torch._C._AutoDispatchBelowAutograd()
        self._guard = guard
        self._guard.__enter__()

    def __call__(self) -> None:
        """End it."""
        self._guard.__exit__(None, None, None)


def _trilinear(
    i1: Tensor,
    i2: Tensor,
    i3: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """Contract three operands, two of them first: ``x1 @ W @ x2`` of bilinear layers."""
    labels = string.ascii_letters[: i1.ndim + len(expand1)]
    operands = [
        "".join(label for dim, label in enumerate(labels) if dim not in expanded)
        for expanded in (expand1, expand2, expand3)
    ]
    result = "".join(label for dim, label in enumerate(labels) if dim not in sumdim)
    return torch.einsum(f"{','.join(operands)}->{result}", i1, i2, i3).contiguous()


STEPS: dict[Any, Callable[..., Any]] = {torch.ops.aten._trilinear: _trilinear}
"""Operators, and functions that compute the same of operators that show their GEMMs."""
