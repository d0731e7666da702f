"""The requests for which a backend is asked for routes; they cover each value of each setting."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import torch

from accelsim.arithmetic.digits import DigitSystem
from accelsim.types import PerOperand, Request, Rounding, Side
from gemm_backends.conformance.subject import Subject

NAMES = PerOperand("the hidden states", "the weight")
"""The names of the operands that messages must use."""

NONE: frozenset[Side] = frozenset()
ACTIVATIONS: frozenset[Side] = frozenset({"a"})
WEIGHT: frozenset[Side] = frozenset({"b"})
"""Operands that stay."""

BETAS = (15.0, 31.0, 127.0, 1023.0)
SHAPES = (
    (1, 33, 96, 40),
    (3, 16, 64, 24),
    (1, 1, 200, 7),
    (2, 5, 33, 17),
    (1, None, 128, 64),
    (1, 7, 13, 5),
    (4, 64, 256, 48),
)
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OUTPUTS = (None, torch.bfloat16, torch.float32, torch.float16)


def usual(subject: Subject) -> Request:
    """Return a request of the most common settings, which others change one by one."""
    bits_a, bits_b = subject.backend.operand_bits
    return Request(
        shape=(1, 33, 96, 40),
        device=torch.device(subject.device),
        dtype=torch.bfloat16,
        rounding=PerOperand.both(Rounding(percentile=95, beta=31, zero_alpha="nonzero")),
        digits=PerOperand(DigitSystem("balanced", bits_a), DigitSystem("balanced", bits_b)),
        names=NAMES,
    )


def covering(subject: Subject) -> list[Request]:
    """Return requests in which every value of every setting meets several of the others."""
    request = usual(subject)
    found = [request]
    choices = product(("tensor", "row"), (NONE, WEIGHT), DTYPES)
    for index, (granularity, fixed, dtype) in enumerate(choices):
        rounding = Rounding(
            percentile=(95, 100)[index % 5 == 4],
            beta=BETAS[index % len(BETAS)],
            granularity=granularity,
            zero_alpha=("error", "nonzero")[index % 2],
        )
        found.append(
            replace(
                request,
                shape=SHAPES[index % len(SHAPES)],
                dtype=dtype,
                rounding=PerOperand.both(rounding),
                fixed=fixed,
                output=OUTPUTS[index % len(OUTPUTS)],
            )
        )
    return [*found, *_mixed(subject, request)]


def _mixed(subject: Subject, request: Request) -> list[Request]:
    """Return requests whose operands differ, and of shapes at the edge."""
    a, b = request.rounding.a, request.rounding.b
    paper = request.digits.map(lambda system: DigitSystem("paper", system.bits))
    return [
        replace(request, rounding=PerOperand(replace(a, beta=255), replace(b, beta=15))),
        replace(request, rounding=PerOperand(replace(a, granularity="row"), b)),
        replace(request, rounding=PerOperand(a, replace(b, granularity="row"))),
        replace(request, rounding=PerOperand(replace(a, percentile=99.5), b)),
        replace(request, rounding=PerOperand(a, replace(b, beta=6.5))),
        replace(request, digits=paper, output=torch.float32),
        replace(request, fixed=ACTIVATIONS),
        replace(request, fixed=WEIGHT | ACTIVATIONS),
        replace(request, shape=(1, 0, 96, 40)),
        replace(request, shape=(1, 9, 1, 1), dtype=torch.float32),
        replace(request, shape=(0, 9, 32, 16)),
    ]


def varied(subject: Subject) -> list[Request]:
    """Return a few requests for checks that run one route many times."""
    request = usual(subject)
    row = request.rounding.map(lambda rounding: replace(rounding, granularity="row"))
    fine = request.rounding.map(lambda rounding: replace(rounding, beta=127))
    heads = (3, 16, 64, 24)
    return [
        replace(request, shape=heads),
        replace(request, shape=heads, rounding=row, dtype=torch.float32, output=torch.float32),
        replace(request, rounding=fine, fixed=WEIGHT, output=torch.bfloat16),
        replace(request, rounding=row, fixed=WEIGHT, output=torch.bfloat16),
    ]


def worded(request: Request) -> str:
    """Return a short description of the request."""
    batch, n, d, h = request.shape
    heads = f"{batch} x " if batch != 1 else ""
    rows = "any" if n is None else n
    a, b = request.rounding.a, request.rounding.b
    parts = [f"{heads}[{rows}, {d}] x [{h}, {d}]", _type(request.dtype), _settings(a)]
    if a != b:
        parts[-1] += f" and {_settings(b)}"
    parts += [f"{' and '.join(sorted(request.fixed)).upper()} fixed"] if request.fixed else []
    parts += [f"{request.digits.a.name} digits"] if request.digits.a.name != "balanced" else []
    parts += [f"as {_type(request.output)}"] if request.output else []
    return ", ".join(parts)


def _settings(rounding: Rounding) -> str:
    return f"beta {rounding.beta:g} at {rounding.percentile:g}% by {rounding.granularity}"


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
