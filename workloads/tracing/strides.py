"""The strides that an operator gives its results, where they follow from no rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


class _Kind(NamedTuple):
    """All of a tensor but its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def zeros(self) -> Tensor:
        """Return such a tensor."""
        lengths = zip(self.shape, self.stride, strict=True)
        entries = 1 + sum((size - 1) * stride for size, stride in lengths)
        memory = torch.zeros(max(1, entries), dtype=self.dtype, device=self.device)
        return memory.as_strided(self.shape, self.stride)


def as_returned(
    operator: Callable[..., Any], args: Sequence[Any], results: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return results with the strides with which an operator would return them.

    The kernels of a convolution choose among memory formats, by sizes, threads and libraries. So
    the operator itself is asked: it runs once on zeros for each kind of operands.

    Parameters
    ----------
    operator : callable
        An ATen operator that returns tensors, or one.
    args : sequence
        Its arguments: tensors, None, numbers and lists of numbers.
    results : sequence of Tensor or None
        What to return.
    """
    known = _strides(operator, tuple(_described(x) for x in args), _settings())
    return [
        result if result is None or result.stride() == stride else _laid_out(result, stride)
        for result, stride in zip(results, known, strict=True)
    ]


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Kind(tuple(value.shape), value.stride(), value.dtype, value.device)
    return tuple(value) if isinstance(value, Sequence) else value


def _settings() -> tuple[Any, ...]:
    """Return what decides besides the operands which kernel runs."""
    return (
        torch._C._get_mkldnn_enabled(),
        torch._C._get_cudnn_enabled(),
        torch._C._get_cudnn_benchmark(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )


@functools.lru_cache(maxsize=4096)
def _strides(
    operator: Callable[..., Any], args: tuple[Any, ...], settings: tuple[Any, ...]
) -> list[tuple[int, ...] | None]:
    with _disable_current_modes():
        found = operator(*(x.zeros() if isinstance(x, _Kind) else x for x in args))
    together = (found,) if isinstance(found, Tensor) else found
    return [None if x is None else x.stride() for x in together]


def _laid_out(x: Tensor, stride: tuple[int, ...] | None) -> Tensor:
    assert stride is not None, "the operator returns this result"
    return torch.empty_strided(x.shape, stride, dtype=x.dtype, device=x.device).copy_(x)
