"""Checks that what a backend says about itself holds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import get_args

import torch
from torch import Tensor

from accelsim.errors import InputError
from gemm_backends.base import GemmBackend
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.operands import usual_shape
from gemm_backends.conformance.subject import Subject
from gemm_backends.errors import AccumulatorOverflow
from gemm_backends.types import Cost, Execution, GemmSpec, Support

SIZES = (1, 7, 8, 9, 63, 64, 65, 1000, 4096)
SECONDS = 5.0
"""Time limit for trying widths between the least and the largest: some backends build each."""

Widths = list[tuple[int, int]]

SHAPES = tuple(itertools.product((0, 1, 5, 16, 33), (0, 1, 24, 33), (0, 1, 8, 33)))


@check
def availability(subject: Subject) -> str:
    """availability() is an Availability with a known execution and a torch device."""
    said = subject.backend.status()
    if said.execution not in get_args(Execution):
        allowed = ", ".join(get_args(Execution))
        raise CheckFailed(f"execution is {said.execution!r}, not one of {allowed}")
    try:
        torch.device(said.device)
    except RuntimeError as error:
        raise CheckFailed(f"device is {said.device!r}, which torch does not know") from error
    return f"{said.execution} on {said.device}"


@check
def options(subject: Subject) -> str:
    """Options can be written as JSON, and make the same backend again."""
    backend = subject.backend
    try:
        json.dumps(backend.options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"{backend.options} cannot be written as JSON: {error}") from error
    twin = backend.with_options()
    for attribute in ("options", "operand_bits", "accumulator"):
        mine, its = getattr(backend, attribute), getattr(twin, attribute)
        if mine != its:
            raise CheckFailed(f"{attribute} is {mine}, and {its} when made again from the options")
    return json.dumps(backend.options)


@check
def supported_widths(subject: Subject) -> str:
    """Digits of widths up to `bits` are accepted and exact; wider ones are refused."""
    widest_a, widest_b = subject.backend.operand_bits
    ends, between = _widths(widest_a, widest_b)
    tried, deadline = 0, monotonic() + SECONDS
    for bits_a, bits_b in (*ends, *between):
        if tried >= len(ends) and monotonic() > deadline:
            break
        tried += 1
        backend = subject.backend.for_bits(bits_a, bits_b)
        if not isinstance(backend, GemmBackend):
            raise CheckFailed(f"for_bits({bits_a}, {bits_b}) returned {type(backend).__name__}")
        n, d, h = usual_shape(subject)
        support = backend.supports(_of_width(subject, bits_a, bits_b))
        if not support:
            raise CheckFailed(f"supports() refuses {bits_a} x {bits_b} bits: {support.reason}")
        narrowed = Subject(backend)
        a, b = narrowed.random(n, d, h)
        limits = 1 << (bits_a - 1), 1 << (bits_b - 1)
        a, b = a.clamp(-limits[0], limits[0] - 1), b.clamp(-limits[1], limits[1] - 1)
        narrowed.verify(a, b, f"{bits_a} x {bits_b} bits")
    for bits_a, bits_b in ((widest_a + 1, widest_b), (widest_a, widest_b + 1)):
        if subject.backend.supports(_of_width(subject, bits_a, bits_b)):
            raise CheckFailed(f"supports() accepts {bits_a} x {bits_b} bits: wider than `bits`")
    return f"{tried} pairs of widths, 2 x 2 to {widest_a} x {widest_b} bits"


def _widths(widest_a: int, widest_b: int) -> tuple[Widths, Widths]:
    """Return pairs of the least and largest widths, and the others: equal, or one the widest."""
    pairs = itertools.product({2, 3, widest_a}, {2, 3, widest_b})
    ends = dict.fromkeys((min(a, widest_a), min(b, widest_b)) for a, b in pairs)
    equal = [(min(k, widest_a), min(k, widest_b)) for k in range(4, max(widest_a, widest_b))]
    mixed = [pair for a, b in equal for pair in ((a, widest_b), (widest_a, b))]
    return list(ends), [pair for pair in dict.fromkeys((*equal, *mixed)) if pair not in ends]


@check
def supported_shapes(subject: Subject) -> str:
    """Shapes that supports() accepts are multiplied exactly; refused ones are refused."""
    answer: object = subject.backend.supports(subject.spec(16, 16, 16))
    if not isinstance(answer, Support):
        raise CheckFailed(f"supports() returned {answer!r}, not a Support such as Support(True)")
    refused = 0
    shapes = dict.fromkeys((*SHAPES, *map(subject.aligned, SHAPES)))
    for n, d, h in shapes:
        a, b = subject.random(n, d, h)
        what = f"[{n}, {d}] x [{h}, {d}]"
        if subject.supports(n, d, h):
            subject.verify(a, b, f"{what}, which supports() accepts")
            continue
        refused += 1
        _must_refuse(subject, a, b, f"{what}, which supports() refuses")
    return f"{len(shapes) - refused} accepted, {refused} refused"


@check
def too_wide_digits(subject: Subject) -> str:
    """Digits beyond `bits` are refused, or multiplied exactly, but never cut off silently."""
    n, d, h = usual_shape(subject)
    for side in ("a", "b"):
        a, b = subject.full("a", n, d, 1), subject.full("b", h, d, 1)
        digit = 1 << (subject.backend.operand_bits["ab".index(side)] - 1)
        wide = torch.full_like(a if side == "a" else b, 1, dtype=_next_type(digit))
        wide[0, 0] = digit
        operands = (wide, b) if side == "a" else (a, wide)
        try:
            product = subject.backend.multiply(*operands)
        except (InputError, AccumulatorOverflow, ValueError, TypeError):
            continue
        subject.compare(product, subject.expected(*operands), f"{side.upper()} holds {digit}")
    return "one digit too large on either side"


def _of_width(subject: Subject, bits_a: int, bits_b: int) -> GemmSpec:
    return replace(subject.spec(*usual_shape(subject)), bits_a=bits_a, bits_b=bits_b)


def _next_type(digit: int) -> torch.dtype:
    return next(t for t in (torch.int8, torch.int16, torch.int32) if digit <= torch.iinfo(t).max)


@check
def errors(subject: Subject) -> str:
    """Operands that do not fit are refused with an InputError, ValueError or TypeError."""
    n, d, h = usual_shape(subject)
    a, b = subject.random(n, d, h)
    wrong: Sequence[tuple[str, Tensor, Tensor]] = (
        ("A and B of different d", a, b[:, : d - 1]),
        ("a vector as A", a[0], b),
        ("a batch as A and a matrix as B", a[None].expand(2, n, d), b),
        ("batches of different sizes", a[None].expand(2, n, d), b[None].expand(3, h, d)),
        ("floating-point digits", a.to(torch.float32), b.to(torch.float32)),
    )
    for what, x, y in wrong:
        _must_refuse(subject, x, y, what)
    return f"{len(wrong)} wrong calls"


def _must_refuse(subject: Subject, a: Tensor, b: Tensor, what: str) -> None:
    try:
        product = subject.backend.multiply(a, b)
    except (InputError, ValueError, TypeError):
        return
    except Exception as error:
        raise CheckFailed(
            f"{what}: raised {type(error).__name__} instead of an InputError: {error}"
        ) from error
    raise CheckFailed(f"{what}: gave a result of shape {[*product.shape]} instead of an error")


@check
def cost(subject: Subject) -> str:
    """Modelled cycles, energy and area are finite, >= 0, and never fall as a dimension grows."""
    modelled: object = subject.backend.cost(subject.spec(64, 64, 64))
    if modelled is None:
        raise NotApplicable("no cost model")
    if not isinstance(modelled, Cost):
        raise CheckFailed(f"cost() returned {modelled!r}, not a Cost such as Cost(cycles=64)")
    for quantity in ("cycles", "energy_pj", "area_um2", "relative_area"):
        _must_grow(subject, quantity, partial(_modelled, subject.backend, quantity))
    return f"each of n, d and h from {SIZES[0]} to {SIZES[-1]}"


def _modelled(backend: GemmBackend, quantity: str, spec: GemmSpec) -> float | None:
    value: float | None = getattr(backend.cost(spec), quantity)
    return value


@check
def executed_macs(subject: Subject) -> str:
    """executed_macs() is at least n * d * h, and never falls as a dimension grows."""
    for n, d, h in itertools.product(SIZES, repeat=3):
        executed = subject.backend.executed_macs(subject.spec(n, d, h))
        if type(executed) is not int or executed < n * d * h:
            raise CheckFailed(f"n, d, h = {n}, {d}, {h}: {executed!r} is less than {n * d * h}")
    _must_grow(subject, "executed_macs", subject.backend.executed_macs)
    return f"dimensions from {SIZES[0]} to {SIZES[-1]}"


def _must_grow(
    subject: Subject, quantity: str, measure: Callable[[GemmSpec], float | None]
) -> None:
    for axis, fixed in itertools.product(range(3), (1, 64, 1000)):
        before, at = 0.0, 0
        for size in SIZES:
            shape = [fixed, fixed, fixed]
            shape[axis] = size
            n, d, h = shape
            value = measure(subject.spec(n, d, h))
            if value is None:
                continue
            where = f"{quantity} at n, d, h = {', '.join(map(str, shape))}"
            if not math.isfinite(value) or value < 0:
                raise CheckFailed(f"{where} is {value}")
            if value < before:
                raise CheckFailed(f"{where} is {value}, less than {before} at {'ndh'[axis]} = {at}")
            before, at = value, size


CHECKS = (
    availability,
    options,
    supported_widths,
    supported_shapes,
    too_wide_digits,
    errors,
    executed_macs,
    cost,
)
