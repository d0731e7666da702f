"""Operators whose bits depend on the device or the batch, and what is computed in their place.

Each takes the arguments of its ATen operator by name and returns the result, rounded once, or
NotImplemented for arguments that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import round_once
from accelsim.integer_mode.pinned import elementary, error_function
from accelsim.integer_mode.pinned.sums import MOST, total, unit_total

Function: TypeAlias = Callable[[Tensor], Tensor]

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Types that are pinned: float64 has no wider one to compute in."""

CHUNK = 1 << 16
"""Entries of a contiguous tensor that a CPU computes at a time, so that they stay in its cache."""

OPERATORS: dict[str, Callable[..., Any]] = {}
"""By name in the namespace aten, without the underscore of those that write in place."""


def _pins(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            OPERATORS[name] = function
        return function

    return register


def _elementwise(function: Function) -> Callable[..., Any]:
    def pinned(self: Tensor) -> Tensor:
        return _applied(function, self)

    return pinned


for _name, _function in {
    "exp": elementary.exp,
    "log": elementary.log,
    "sin": elementary.sin,
    "cos": elementary.cos,
    "tanh": elementary.tanh,
    "sigmoid": elementary.sigmoid,
    "silu": elementary.silu,
    "erf": error_function.erf,
    "rsqrt": lambda x: 1 / x.sqrt(),
    "reciprocal": lambda x: 1 / x,
}.items():
    OPERATORS[_name] = _elementwise(_function)


@_pins("gelu")
def _gelu(self: Tensor, approximate: str = "none") -> Tensor:
    return _applied(elementary.gelu_tanh if approximate == "tanh" else error_function.gelu, self)


POWERS: dict[float, Function] = {
    -2: lambda x: 1 / (x * x),
    -1: lambda x: 1 / x,
    -0.5: lambda x: 1 / x.sqrt(),
    0.5: lambda x: x.sqrt(),
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
}


@_pins("pow")
def _pow(self: Any, exponent: Any) -> Any:
    if not isinstance(self, Tensor) or isinstance(exponent, Tensor) or exponent not in POWERS:
        return NotImplemented
    return _applied(POWERS[exponent], self)


@_pins("div")
def _div(self: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """Divide by a number, of which a GPU would take the reciprocal; tensors are divided as such."""
    if rounding_mode is not None:
        return NotImplemented
    if isinstance(other, Tensor):
        if other.ndim or other.device == self.device or not isinstance(self, Tensor):
            return torch.div(self, other)
        other = other.item()
    number = float(torch.tensor(other, dtype=torch.float32, device="cpu"))
    return _applied(lambda x: elementary.divided(x, number), self)


def _add(self: Any, other: Any, alpha: float = 1, sign: int = 1) -> Any:
    if alpha == 1:
        return self + other if sign == 1 else self - other
    if not (isinstance(self, Tensor) and isinstance(other, Tensor)):
        return NotImplemented
    dtype = torch.result_type(self, other)
    if dtype not in FLOATS:
        return NotImplemented
    factor = sign * float(torch.tensor(alpha, dtype=torch.float32, device="cpu"))
    return round_once(self.to(torch.float64) + other.to(torch.float64) * factor, dtype)


@_pins("add")
def _plus(self: Any, other: Any, alpha: float = 1) -> Any:
    return _add(self, other, alpha)


@_pins("sub")
def _minus(self: Any, other: Any, alpha: float = 1) -> Any:
    return _add(self, other, alpha, -1)


@_pins("sum")
def _sum(
    self: Tensor,
    dim: Sequence[int] | int | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Any:
    return _reduced(self, dim, keepdim, dtype, mean=False)


@_pins("mean")
def _mean(
    self: Tensor,
    dim: Sequence[int] | int | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Any:
    return _reduced(self, dim, keepdim, dtype, mean=True)


def _reduced(
    x: Tensor, dim: Sequence[int] | int | None, keepdim: bool, dtype: torch.dtype | None, mean: bool
) -> Any:
    out = dtype or x.dtype
    given = [dim] if isinstance(dim, int) else list(dim or range(x.ndim))
    dims = [d % x.ndim for d in given] if x.ndim else []
    count = _size(x, dims)
    if out not in FLOATS or count > MOST:
        return NotImplemented
    result = total(x.to(torch.float64), dims) if dims else x.to(torch.float64)
    if mean:
        result = elementary.divided(result, count)
    return round_once(result if keepdim or not dims else result.squeeze(dims), out)


def _size(x: Tensor, dims: Sequence[int]) -> int:
    return torch.Size(x.shape[d] for d in dims).numel()


def _shifted(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x less its largest entry, exp of that, and the sum of these over `dim`."""
    wide = x.to(torch.float64)
    shifted = wide - wide.amax(dim, keepdim=True)
    powers = elementary.exp(shifted)
    return shifted, powers, unit_total(powers, dim)


def _softmax_type(x: Tensor, dim: int, dtype: torch.dtype | None, wide: bool) -> torch.dtype | None:
    """Return the type of the result; None if it is not one that is pinned."""
    out = torch.float32 if wide else dtype or x.dtype
    return out if out in FLOATS and x.ndim and 0 < x.shape[dim] <= MOST else None


@_pins("_softmax", "softmax")
def _softmax(
    self: Tensor, dim: int, half_to_float: bool = False, dtype: torch.dtype | None = None
) -> Any:
    out = _softmax_type(self, dim, dtype, half_to_float)
    if out is None:
        return NotImplemented
    _, powers, sums = _shifted(self, dim)
    return round_once(powers / sums, out).contiguous()


@_pins("_safe_softmax")
def _safe_softmax(self: Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """Return 0 where a row is masked wholly."""
    result = _softmax(self, dim, False, dtype)
    if result is NotImplemented:
        return result
    masked = (self == -torch.inf).all(dim, keepdim=True)
    return torch.where(masked, 0, result)


@_pins("_log_softmax", "log_softmax")
def _log_softmax(
    self: Tensor, dim: int, half_to_float: bool = False, dtype: torch.dtype | None = None
) -> Any:
    out = _softmax_type(self, dim, dtype, half_to_float)
    if out is None:
        return NotImplemented
    shifted, _, sums = _shifted(self, dim)
    return round_once(shifted - elementary.log(sums), out).contiguous()


@_pins("native_layer_norm")
def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Any:
    dims = range(input.ndim - len(normalized_shape), input.ndim)
    count = _size(input, dims)
    if not 0 < count <= MOST:
        return NotImplemented
    wide = input.to(torch.float64)
    mean = elementary.divided(total(wide, dims), count)
    centered = wide - mean
    inverse = _inverse_root(centered, dims, eps)
    result = centered * inverse
    if weight is not None:
        result = result * weight.to(torch.float64)
    if bias is not None:
        result = result + bias.to(torch.float64)
    rounded = round_once(result, input.dtype).contiguous()
    kept = input.dtype if input.is_cpu else torch.float32
    return rounded, round_once(mean, kept), round_once(inverse, kept)


@_pins("_fused_rms_norm")
def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> Any:
    """Compute the steps into which PyTorch takes it apart on a CPU, each with its rounding."""
    dims = list(range(input.ndim - len(normalized_shape), input.ndim))
    if not 0 < _size(input, dims) <= MOST:
        return NotImplemented
    wide = input.to(torch.float32)
    least = torch.finfo(torch.float32).eps if eps is None else eps
    inverse = OPERATORS["rsqrt"](_mean(_pow(wide, 2), dims, keepdim=True) + least)
    result = wide * inverse
    if weight is not None:
        result = result * weight
    return result.to(input.dtype).contiguous(), inverse


def _inverse_root(x: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    """Return the inverse of the root of the mean square."""
    mean = elementary.divided(total(x * x, dims), _size(x, dims))
    return 1 / (mean + eps).sqrt()


def _applied(function: Function, x: Tensor) -> Tensor:
    """Compute a function of every entry in float64 and round it to the type of the entries."""
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    if not (x.is_cpu and x.is_contiguous() and x.numel() > CHUNK):
        return round_once(function(x.to(torch.float64)), dtype)
    result = torch.empty_like(x, dtype=dtype)
    parts = zip(*(torch.split(y.view(-1), CHUNK) for y in (x, result)), strict=True)
    for part, out in parts:
        out.copy_(round_once(function(part.to(torch.float64)), dtype))
    return result
