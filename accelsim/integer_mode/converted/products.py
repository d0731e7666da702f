"""The exact products behind the operators of converted models, and the routes that make them."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from accelsim.arithmetic.bounds import largest
from accelsim.arithmetic.rounding import Quantized
from accelsim.errors import DataError, InputError, UnsupportedError
from accelsim.integer_mode.checksum import checksum_there
from accelsim.integer_mode.converted.config import parsed
from accelsim.integer_mode.converted.digits import StoredWeight
from accelsim.integer_mode.routes import Opener, Routes, opener_of
from accelsim.integer_mode.weights import is_compared_at_the_end, state_of
from accelsim.measure.timing import Untimed
from accelsim.routes import GeneralRoute, SimulatedRoute
from accelsim.types import PerOperand, PreparedOperand, Request, Rounding, Route

_UNTIMED = Untimed()
_LOCK = threading.RLock()

HELD = 4
"""Routes that are held for a weight: for types of the other operand, for its transpose, and for
weights that are joined with it."""


@dataclass(eq=False)
class _Held:
    """What is held for a weight beside its tensors.

    Parameters
    ----------
    state : tuple
        What tells the tensors' values from others, as far as that is known without waiting.
    largest : int
        The largest magnitude of its integers.
    routes : OrderedDict
        Routes with the weight as they take it, by what they are for.
    norms : dict
        Bounds of its rows, and of its columns, where floats are proved to be exact by them.
    then : tuple of Tensor or None
        Checksums of the tensors when they were prepared, where these are compared at the end.
    """

    state: tuple[Hashable, ...]
    largest: int
    routes: OrderedDict[Hashable, tuple[Route, PreparedOperand]] = field(
        default_factory=OrderedDict
    )
    norms: dict[bool, Tensor] = field(default_factory=dict)
    then: tuple[Tensor, ...] | None = None


_HELD: Any = WeakIdKeyDictionary()
"""What is held for a weight, by its tensor of digits."""


def forward(x: Tensor, weight: StoredWeight, settings: str) -> Tensor:
    """Return the product of floats ``[..., d]`` and a weight ``[h, d]``, in the type of `x`."""
    d, shape = x.shape[-1], (*x.shape[:-1], weight.h)
    rows = x.detach().reshape(x.shape[:-1].numel(), d)
    if not rows.numel() or not weight.h:
        return x.new_zeros(shape)
    rounding = parsed(settings).rounding("activations")
    return _with_weight(rows, rounding, [weight], d, settings, transposed=False).reshape(shape)


def forward_joined(x: Tensor, weights: Sequence[StoredWeight], settings: str) -> Tensor:
    """Return the products of floats and several weights side by side, ``[..., all their rows]``."""
    d, shape = x.shape[-1], (*x.shape[:-1], sum(weight.h for weight in weights))
    rows = x.detach().reshape(x.shape[:-1].numel(), d)
    if not rows.numel() or not shape[-1]:
        return x.new_zeros(shape)
    rounding = parsed(settings).rounding("activations")
    return _with_weight(rows, rounding, weights, d, settings, transposed=False).reshape(shape)


def backward(gradient: Tensor, weight: StoredWeight, d: int, settings: str) -> Tensor:
    """Return the product of a gradient ``[..., h]`` and the transpose of a weight ``[h, d]``."""
    shape = (*gradient.shape[:-1], d)
    rows = gradient.reshape(gradient.shape[:-1].numel(), weight.h)
    if not rows.numel() or not d:
        return gradient.new_zeros(shape)
    if weight.by_row:
        floats = weight.floats(d).T.contiguous()
        return product(rows, floats, "gradients", "weights", settings).reshape(shape)
    rounding = parsed(settings).rounding("gradients")
    try:
        result = _with_weight(rows, rounding, [weight], d, settings, transposed=True)
        return result.reshape(shape)
    except DataError as error:
        return _poisoned(rows, error).expand(shape).clone()


def product(a: Tensor, b: Tensor, kind_a: str, kind_b: str, settings: str) -> Tensor:
    """Return ``A @ B.T`` of two operands of floats, in the type of `a`."""
    config = parsed(settings)
    shape = a.shape[0], b.shape[0]
    if not a.numel() or not b.numel():
        return a.new_zeros(shape)

    def request() -> Request:
        return Request(
            shape=(1, shape[0], a.shape[1], shape[1]),
            device=a.device,
            dtype=a.dtype,
            rounding=PerOperand(config.rounding(kind_a), config.rounding(kind_b)),
            digits=config.systems,
            output=a.dtype,
            names=PerOperand(kind_a, kind_b),
        )

    b = b.detach()
    if kind_b == "weights" and b.device.type == "cpu":
        # Percentiles are found by way of NumPy, which keeps a storage from being resized, as FSDP
        # does with weights.
        b = b.clone()
    key = a.shape, shape[1], a.device, a.dtype, b.dtype, kind_a, kind_b
    try:
        with _LOCK:
            _, route = _routes(settings).get(key, request, _opener(settings))
            return _run(route, a.detach(), b)
    except DataError as error:
        if kind_a != "gradients":
            raise
        return _poisoned(a, error).expand(shape).clone()


def check(weights: Iterable[StoredWeight], settings: Iterable[str]) -> None:
    """Wait for the products with weights, and of these settings, and raise what was found in them.

    Raises
    ------
    DataError
        If an operand held NaN or infinity, or what a CUDA graph has no digits for, or if a weight
        changed on a GPU without a write to it that was seen.
    """
    with _LOCK:
        for weight in weights:
            held: _Held | None = _HELD.get(weight.digits)
            if held is None:
                continue
            for route, _ in held.routes.values():
                route.check()
            if held.then is not None and held.state == _state(weight):
                now = [checksum_there(x) for x in weight.tensors.values()]
                if any(bool(x != then) for x, then in zip(now, held.then, strict=True)):
                    del _HELD[weight.digits]
                    raise DataError(
                        "the weight's values changed, and no write to them was seen, so that "
                        "products used what they had been; write to its tensors by PyTorch's "
                        "operators and not through .data, or load a state_dict"
                    )
        for each in settings:
            for route in _routes(each).opened():
                route.check()


def _poisoned(gradient: Tensor, error: DataError) -> Tensor:
    """Return the NaN that products of a gradient with NaN or infinity are, for a gradient scaler.

    Raises
    ------
    DataError
        The given one, if the gradient is finite.
    """
    if bool(gradient.isfinite().all()):
        raise error
    return gradient.new_full((), float("nan"))


def _with_weight(
    rows: Tensor,
    rounding: Rounding,
    weights: Sequence[StoredWeight],
    d: int,
    settings: str,
    transposed: bool,
) -> Tensor:
    config = parsed(settings)
    h = sum(weight.h for weight in weights)
    request = Request(
        shape=(1, None, rows.shape[1], d if transposed else h),
        device=rows.device,
        dtype=rows.dtype,
        rounding=PerOperand(rounding, config.rounding("weights")),
        digits=config.systems,
        fixed=frozenset({"b"}),
        output=rows.dtype,
        names=PerOperand("gradients" if transposed else "activations", "weights"),
    )
    with _LOCK:
        held, *others = (_held(weight, d) for weight in weights)
        key = rows.dtype, settings, transposed, tuple(others)
        known = held.routes.get(key)
        if known is not None:
            held.routes.move_to_end(key)
            return _run(known[0], rows, known[1])
        exponents = {int(weight.exponent) for weight in weights}
        if len(exponents) > 1:
            found = [
                _with_weight(rows, rounding, [weight], d, settings, transposed)
                for weight in weights
            ]
            return torch.cat(found, dim=-1)
        route = _opener(settings)(request)
        integers = torch.cat([weight.integers(d) for weight in weights])
        scales = [weight.scale for weight in weights]
        quantized = Quantized.restored(
            integers.T.contiguous() if transposed else integers,
            scales[0] if len(scales) == 1 else torch.cat(scales),
            max(each.largest for each in (held, *others)),
            exponents.pop(),
            config.granularity,
        )
        if isinstance(route, SimulatedRoute):
            norms = None if others else held.norms.get(transposed)
            operand = route.restore("b", quantized, norms)
            if not others:
                held.norms[transposed] = operand.norms
            return _run(route, rows, operand)
        restore = getattr(route, "restore", None)
        if restore is None:
            name = type(route).__name__
            raise InputError(f"{name} does not take weights that were rounded earlier")
        known = held.routes[key] = route, restore("b", quantized)
        if len(held.routes) > HELD:
            held.routes.popitem(last=False)
        return _run(known[0], rows, known[1])


def _run(route: Route, a: Tensor, b: Tensor | PreparedOperand) -> Tensor:
    try:
        # Autocast would shorten the operands of products of floats.
        with torch.autocast(a.device.type, enabled=False):
            result = route.run(a, b, _UNTIMED)
        if not (a.is_cuda and torch.cuda.is_current_stream_capturing()):
            route.check()
    except UnsupportedError as error:
        raise InputError(str(error)) from error
    assert isinstance(result, Tensor), "a route with an output type gives a tensor"
    if isinstance(route, GeneralRoute | SimulatedRoute):
        route.forget()
    return result


def _held(weight: StoredWeight, d: int) -> _Held:
    state = _state(weight)
    held: _Held | None = _HELD.get(weight.digits)
    if held is None or held.state != state:
        held = _HELD[weight.digits] = _Held(state, largest(weight.integers(d)))
        if is_compared_at_the_end(weight.digits):
            held.then = tuple(checksum_there(x) for x in weight.tensors.values())
    return held


def _state(weight: StoredWeight) -> tuple[Hashable, ...]:
    return tuple(state_of(x) for x in weight.tensors.values())


@functools.lru_cache(maxsize=64)
def _opener(settings: str) -> Opener:
    config = parsed(settings)
    return opener_of("auto", config.backend, config.widths, config.strategy, None, False)


@functools.lru_cache(maxsize=64)
def _routes(settings: str) -> Routes:
    return Routes()
