"""Checks of how operands are read, what comes back, and that calls do not disturb each other."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.subject import Subject

REPEATS, SECONDS = 2500, 0.5
"""The number of times that a product is repeated, and the time limit; at least `FEWEST` times."""

FEWEST = 10
CANDIDATES = ((17, 40, 19), (32, 64, 32), (128, 128, 128))


def usual_shape(subject: Subject) -> tuple[int, int, int]:
    """Return the first of a few moderate shapes, aligned if need be, that the backend takes.

    Raises
    ------
    NotApplicable
        If it takes none.
    """
    for shape in (*CANDIDATES, *map(subject.aligned, CANDIDATES)):
        if subject.supports(*shape):
            return shape
    raise NotApplicable(f"supports() refuses {', '.join(map(str, CANDIDATES))}")


@check
def output(subject: Subject) -> str:
    """Results are int32 or int64, on the operands' device, wide enough to hold the sums."""
    n, d, h = usual_shape(subject)
    a, b = subject.random(n, d, h)
    product = subject.backend.matmul(subject.backend.prepare(a), subject.backend.prepare(b))
    if not isinstance(product, Tensor):
        raise CheckFailed(f"matmul returned {type(product).__name__}, not a tensor")
    if product.dtype not in (torch.int32, torch.int64):
        raise CheckFailed(f"matmul returned {product.dtype}, not torch.int32 or torch.int64")
    if product.shape != (n, h):
        raise CheckFailed(f"[{n}, {d}] x [{h}, {d}] gave shape {[*product.shape]}, not {[n, h]}")
    if product.device.type != torch.device(subject.device).type:
        raise CheckFailed(f"the result is on {product.device}, the operands on {a.device}")
    if subject.accumulator.bits > 32 and product.dtype == torch.int32:
        raise CheckFailed(f"int32 cannot hold a {subject.accumulator.bits}-bit accumulator")
    return f"{str(product.dtype).removeprefix('torch.')} on {product.device.type}"


@check
def batches(subject: Subject) -> str:
    """Batches give the products of their matrices, in order, in 3 and 4 dimensions."""
    n, d, h = usual_shape(subject)
    for batch in ((1,), (3,), (2, 3), (0,), (2, 0)):
        a, b = subject.random(n, d, h, batch)
        product = subject.backend.multiply(a, b)
        if product.shape != (*batch, n, h):
            raise CheckFailed(f"batch {[*batch]} gave shape {[*product.shape]}")
        subject.compare(product, subject.expected(a, b), f"batch {[*batch]} of [{n}, {d}]")
    a, b = subject.random(n, d, h, (3,))
    direct = _direct(subject, a, b)
    if direct is None:
        return "batches of 1, 3, 2 x 3, 0 and 2 x 0; matmul itself takes one matrix at a time"
    subject.compare(direct, subject.expected(a, b), "matmul called with a batch of 3")
    return "batches of 1, 3, 2 x 3, 0 and 2 x 0; matmul itself takes them too"


def _direct(subject: Subject, a: Tensor, b: Tensor) -> Tensor | None:
    """Call matmul with a batch; None where it is written for one matrix at a time."""
    backend = subject.backend
    try:
        with warnings.catch_warnings(action="ignore"):
            product: object = backend.matmul(backend.prepare(a), backend.prepare(b))
    except Exception:
        return None
    right = isinstance(product, Tensor) and product.shape == (*a.shape[:-1], b.shape[-2])
    return product if isinstance(product, Tensor) and right else None


@check
def shared_operand(subject: Subject) -> str:
    """One tensor may be both operands, and be changed in place between calls."""
    n, d, _ = usual_shape(subject)
    if not subject.supports(n, d, n):
        raise NotApplicable(f"supports() refuses [{n}, {d}] x [{n}, {d}]")
    a, _ = subject.random(n, d, n)
    if not _alike(subject):
        raise NotApplicable("A and B have different widths or signs")
    subject.verify(a, a, "A as both operands")
    a.copy_(subject.random(n, d, n, seed=1)[0])
    subject.verify(a, a, "A as both operands, after its digits were changed in place")
    return "A times itself, twice"


def _alike(subject: Subject) -> bool:
    """Return whether digits of A may be digits of B."""
    (bits_a, bits_b), (signed_a, signed_b) = (
        subject.backend.operand_bits,
        subject.backend.operand_signed,
    )
    return bits_a == bits_b and signed_a == signed_b


@check
def inputs_unmodified(subject: Subject) -> str:
    """Neither operand is changed, nor the memory around a view (compared before and after)."""
    n, d, h = usual_shape(subject)
    limit = subject.harmless_digit(d)
    a, b = subject.random(n, d, h)
    kinds = {
        "random digits": (a.clone(), b.clone()),
        "a batch": subject.random(n, d, h, (2,)),
        "the smallest digits": (
            subject.full("a", n, d, max(subject.lowest("a"), -limit)),
            subject.full("b", h, d, max(subject.lowest("b"), -limit)),
        ),
        "views of every other column": (_every_other_column(a), _every_other_column(b)),
    }
    calls = (
        ("multiply", subject.backend.multiply),
        ("multiply_report", subject.backend.multiply_report),
        ("prepare", lambda a, b: [subject.backend.prepared(x) for x in (a, b)]),
    )
    for (what, operands), (name, call) in itertools.product(kinds.items(), calls):
        memory = [operand if operand._base is None else operand._base for operand in operands]
        before = [(whole.clone(), whole._version) for whole in memory]
        call(*operands)
        for side, whole, (copy, version) in zip("AB", memory, before, strict=True):
            changed = int((whole != copy).sum())
            if changed:
                raise CheckFailed(f"{name} changed {side} ({what}) in {changed} places")
            if whole._version != version:
                raise CheckFailed(
                    f"{name} changed {side} ({what}) and restored it: other threads may read it"
                )
    return f"{', '.join(kinds)}"


def _every_other_column(digits: Tensor) -> Tensor:
    """Return a view that equals `digits`, with other memory between its columns."""
    return torch.stack([digits, torch.ones_like(digits)], dim=2).flatten(1)[:, ::2]


@check
def prepared_operands(subject: Subject) -> str:
    """Operands prepared once can be used on either side, in any number of products."""
    n, d, h = usual_shape(subject)
    backend = subject.backend
    (a, b), (other, _) = subject.random(n, d, h), subject.random(n, d, h, seed=1)
    prepared_a, prepared_b = backend.prepared(a), backend.prepared(b)
    for x, prepared_x in ((a, prepared_a), (other, backend.prepared(other)), (a, prepared_a)):
        product = backend.multiply(prepared_x, prepared_b)
        subject.compare(product, subject.expected(x, b), "B prepared once, used again")
    if _alike(subject) and subject.supports(h, d, n):
        product = backend.multiply(prepared_b, prepared_a)
        subject.compare(product, subject.expected(b, a), "the same operands, sides exchanged")
    return "3 products with one B, then sides exchanged"


@check
def determinism(subject: Subject) -> str:
    """Equal calls give equal integers every time."""
    usual = usual_shape(subject)
    shapes = [usual, *(shape for shape in CANDIDATES[-1:] if subject.supports(*shape))]
    calls = [_repeat(subject, *shape) for shape in dict.fromkeys(shapes)]
    return f"{' and '.join(map(str, calls))} calls"


def _repeat(subject: Subject, n: int, d: int, h: int) -> int:
    """Repeat a product and return how often."""
    a, b = subject.random(n, d, h)
    deadline = time.monotonic() + SECONDS
    first = subject.backend.multiply(a, b).clone()
    for repeat in range(1, REPEATS):
        if repeat >= FEWEST and time.monotonic() > deadline:
            return repeat
        changed = int((subject.backend.multiply(a, b) != first).sum())
        if changed:
            raise CheckFailed(
                f"[{n}, {d}] x [{h}, {d}]: call {repeat + 1} differs from the first in {changed} "
                "entries"
            )
    return REPEATS


@check
def independent_calls(subject: Subject) -> str:
    """Earlier calls change no later result, and later ones no earlier result."""
    n, d, h = usual_shape(subject)
    sizes = [size for size in ((n, d, h), (2 * n, 2 * d, 2 * h)) if subject.supports(*size)]
    sequence = [*sizes, *sizes[::-1], *sizes]
    operands = [subject.random(*size, seed=seed) for seed, size in enumerate(sequence)]
    expected = [subject.expected(a, b) for a, b in operands]
    results = []
    for (a, b), correct in zip(operands, expected, strict=True):
        results.append(subject.backend.multiply(a, b))
        subject.compare(results[-1], correct, "a product after others")
    _compare_all(subject, results, expected)
    return f"{len(results)} products of {len(sizes)} sizes"


def _compare_all(subject: Subject, results: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for number, (result, correct) in enumerate(zip(results, expected, strict=True), start=1):
        subject.compare(result, correct, f"result {number}, looked at after all the calls")


CHECKS = (
    output,
    batches,
    shared_operand,
    inputs_unmodified,
    prepared_operands,
    determinism,
    independent_calls,
)
