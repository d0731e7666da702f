"""Checks of operands with unusual memory layouts, and of values that no route can take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from accelsim.errors import DataError
from accelsim.types import SIDES, PerOperand, Request, Side
from gemm_backends.conformance.check import CheckFailed, check
from gemm_backends.conformance.routes.opened import LARGE, NORMAL, Opened, each, must_raise
from gemm_backends.conformance.routes.reference import rounded
from gemm_backends.conformance.routes.requests import usual, varied, worded
from gemm_backends.conformance.subject import Subject

PLAIN = PerOperand.both("no heavy hitters")
HEAVY = PerOperand.both("scattered heavy hitters")

LIMIT = 1 << 62
"""Integers from this magnitude on are an error."""


@check
def route_strides(subject: Subject) -> str:
    """Operands may be views of any strides, and neither they nor what is around them change."""
    tried = 0
    request = usual(subject)
    square = replace(request, shape=(1, 40, 96, 40))
    requests = [*varied(subject), replace(request, shape=(1, 1, 96, 1)), square]
    for route in each(subject, requests):
        operands = route.draw(HEAVY, 0)
        for side in SIDES:
            for view in _views(operands.of(side)):
                pair = _with(operands, side, view)
                before = [x.clone() for x in (pair.a, pair.b)]
                what = f"strides {pair.a.stride()} and {pair.b.stride()}"
                route.verify(pair, what)
                if not all(map(torch.equal, (pair.a, pair.b), before)):
                    raise CheckFailed(f"{worded(route.request)}; {what}: an operand was changed")
                tried += 1
        if route.request is square:
            route.verify(PerOperand.both(operands.a), "one tensor as both operands")
    return f"{tried} views"


def _views(x: Tensor) -> Iterator[Tensor]:
    """Yield views of other memory that equal `x`, or repeat one row or head of it."""
    yield x.mT.contiguous().mT
    yield torch.stack([x, torch.full_like(x, torch.nan)], dim=-1).flatten(-2)[..., ::2]
    yield torch.cat([torch.full_like(x, torch.nan), x])[len(x) :]
    yield x[..., :1, :].expand(x.shape)
    if x.ndim == 3:
        yield x.transpose(0, 1).contiguous().transpose(0, 1)
        yield x[:1].expand(x.shape)
    elif len(x) == 1:
        for stride in (0, 1, x.shape[1] + 3):
            yield x.clone().as_strided(x.shape, (stride, 1))


@check
def route_errors(subject: Subject) -> str:
    """NaN, infinity and undefined scales are a DataError in run() or check() that names them."""
    tried = 0
    for route in each(subject, [_strict(request) for request in varied(subject)]):
        for side in SIDES:
            name = route.request.names.of(side)
            for what, place in _places(route.draw(PLAIN, 0).of(side)):
                for value in (torch.nan, torch.inf, -torch.inf):
                    bad = route.draw(PLAIN, tried)
                    bad.of(side)[place] = value
                    _must_refuse(route, bad, name, f"{value} {what} of {side.upper()}")
                    tried += 1
                route.verify(route.draw(HEAVY, 1), "after an error")
            few = route.draw(PLAIN, 0)
            few.of(side).mul_(
                torch.arange(few.of(side).shape[-1], device="cpu").eq(1).to(few.a.device)
            )
            _must_refuse(route, few, name, f"{side.upper()} of too many zeros, α is 0")
            _verify_zeros(route, side)
            tried += 1
    return f"{tried} errors"


@check
def route_zeros(subject: Subject) -> str:
    """Operands of zeros have scale 1; with zero_alpha: nonzero few entries have a scale."""
    runs = 0
    for route in each(subject, varied(subject)):
        for side in SIDES:
            _verify_zeros(route, side)
            few = route.draw(HEAVY, 0)
            few.of(side).mul_(
                torch.arange(few.of(side).shape[-1], device="cpu").eq(1).to(few.a.device)
            )
            route.verify(few, f"{side.upper()} has one column that is not 0")
            runs += 2
    return f"{runs} runs"


@check
def route_extremes(subject: Subject) -> str:
    """Integers up to 2^62, sums beyond int64 and tiny entries are exact or an error, if need be."""
    exact = raised = 0
    request = replace(usual(subject), dtype=torch.float32)
    row = request.rounding.map(lambda rounding: replace(rounding, granularity="row"))
    requests = [
        request,
        replace(request, rounding=row),
        replace(request, output=torch.float32),
        replace(request, rounding=row, output=torch.bfloat16),
    ]
    for route in each(subject, requests):
        for factor in (1e6, 1e8, 1e10, 1e16, 1e18, 3e25, 1e37):
            operands = route.draw(PLAIN, 0)
            for side in SIDES:
                operands.of(side)[1::7, :2] *= -factor
            if _exact_or_error(route, operands, f"heavy hitters {factor:g} times as large"):
                exact += 1
            else:
                raised += 1
        for size in (1e-30, 1e-38):
            operands = route.draw(HEAVY, 0)
            for side in SIDES:
                operands.of(side).mul_(size)
            if _exact_or_error(route, operands, f"entries of {size:g}"):
                exact += 1
            else:
                raised += 1
        route.verify(route.draw(HEAVY, 2), "after extreme values")
    return f"{exact} exact, {raised} errors"


def _exact_or_error(route: Opened, operands: PerOperand[Tensor], what: str) -> bool:
    """Require exact integers or a DataError; return whether they were exact."""
    what = f"{worded(route.request)}; {what}"
    try:
        ran = route.run(route.given(operands))
    except DataError as error:
        if _fits(route.request, operands):
            raise CheckFailed(f"{what}: raised, though int64 holds every sum: {error}") from error
        return False
    for side in SIDES:
        rounding, exponent = route.request.rounding.of(side), ran.counts.scale_exponent.of(side)
        scale = rounded(operands.of(side), rounding, exponent).scale
        if _largest(operands.of(side), scale, exponent) >= LIMIT:
            raise CheckFailed(f"{what}: {side.upper()} has integers from 2^62 on, and no error")
    route.compare(ran, operands, what)
    return True


def _fits(request: Request, operands: PerOperand[Tensor]) -> bool:
    """Whether scales fit float32 and int64 certainly holds every sum."""
    bound = float(operands.a.shape[-1])
    for side in SIDES:
        x = operands.of(side)
        scale = rounded(x, request.rounding.of(side)).scale
        if bool((scale < NORMAL).any()) or bool((scale >= LARGE).any()):
            return False
        bound *= _largest(x, scale)
    return bound < LIMIT


def _largest(x: Tensor, scale: Tensor, exponent: int = 0) -> float:
    return float((x.cpu().to(torch.float64) * scale * 2.0**exponent).abs().max())


def _strict(request: Request) -> Request:
    rounding = request.rounding.map(lambda rounding: replace(rounding, zero_alpha="error"))
    return replace(request, rounding=rounding)


def _verify_zeros(route: Opened, side: Side) -> None:
    zero = route.draw(HEAVY, 0)
    zero.of(side).zero_()
    route.verify(zero, f"{side.upper()} is 0")


def _must_refuse(route: Opened, operands: PerOperand[Tensor], name: str, what: str) -> None:
    what = f"{worded(route.request)}; {what}"
    must_raise(lambda: route.run(route.given(operands)), name, what)


def _places(x: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    middle, last = tuple(size // 2 for size in x.shape), tuple(size - 1 for size in x.shape)
    return [("in the middle", middle), ("in the last corner", last), ("first", (0,) * x.ndim)]


def _with(operands: PerOperand[Tensor], side: Side, x: Tensor) -> PerOperand[Tensor]:
    return PerOperand(x, operands.b) if side == "a" else PerOperand(operands.a, x)


CHECKS = (route_strides, route_errors, route_zeros, route_extremes)
