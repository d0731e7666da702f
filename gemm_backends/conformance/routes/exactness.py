"""Checks that a route is exact for every kind of request that it takes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from accelsim.types import PerOperand, Request, Rounding
from gemm_backends.conformance.check import check
from gemm_backends.conformance.routes.opened import each
from gemm_backends.conformance.routes.requests import WEIGHT, covering, usual
from gemm_backends.conformance.subject import Subject

PAIRS = (
    PerOperand("scattered heavy hitters", "a negative last column"),
    PerOperand("no heavy hitters", "no heavy hitters"),
    PerOperand("a negative first row", "entries of all sizes"),
)
"""Kinds of values that every request is tried with."""

OUTPUTS = (torch.bfloat16, torch.float16, torch.float32)

LONG = 140_001
"""The number of products of -128 by 127 from which a sum does not fit 32 bits."""

POWERS = (0, -20, -70)
"""Powers of two by which quotients become subnormal in float16, and in bfloat16 and float32."""


@check
def route_requests(subject: Subject) -> str:
    """Fused routes give the integers, scales and floats of a sort and an independent product."""
    requests = covering(subject)
    taken = 0
    for route in each(subject, requests):
        taken += 1
        for seed, kinds in enumerate(PAIRS):
            what = f"A with {kinds.a}, B with {kinds.b}"
            route.verify(route.draw(kinds, 2 * seed), what)
        for rows in (1, 0) if route.request.shape[1] is None else ():
            route.verify(route.draw(PAIRS[0], rows, rows), f"{rows} rows of A")
    refused = f"; {len(requests) - taken} refused" if taken < len(requests) else ""
    return f"{taken} requests{refused}"


@check
def route_output(subject: Subject) -> str:
    """Floats are rounded once from the exact quotient, on ties and one step beside them."""
    tried = 0
    for beta, operands in ((4096.0, _beside_ties()), (14.0, _quotients_on_ties())):
        for route in each(subject, _on_ties(subject, beta, operands)):
            tried += 1
            for power in POWERS:
                scaled = (route.placed(x * 2.0**power) for x in (operands.a, operands.b))
                what = f"quotients on ties and beside them, operands times 2^{power}"
                route.verify(PerOperand(*scaled), what)
    return f"{tried} requests, quotients of {len(POWERS)} sizes"


@check
def route_long_sums(subject: Subject) -> str:
    """Long sums, which leave 32 bits at either end, are exact: K is cut, or they have more bits."""
    tried = 0
    rounding = PerOperand.both(Rounding(95, 255))
    request = replace(usual(subject), shape=(1, 2, LONG, 3), rounding=rounding)
    byrow = replace(request, rounding=rounding.map(lambda r: replace(r, granularity="row")))
    prepared = replace(request, fixed=WEIGHT, output=torch.float32)
    for route in each(subject, [request, byrow, prepared]):
        for a, b in ((-1.0, -1.0), (-1.0, 0.99), (0.99, -1.0)):
            operands = (
                torch.full((2, LONG), a, device="cpu"),
                torch.full((3, LONG), b, device="cpu"),
            )
            what = f"every entry of A {a:g}, of B {b:g}"
            route.verify(PerOperand(*map(route.placed, operands)), what)
            tried += 1
    return f"{tried} products with K = {LONG:,}"


def _on_ties(subject: Subject, beta: float, operands: PerOperand[Tensor]) -> list[Request]:
    """Return requests in which α is made, so that the scales are ``beta / (2 * alpha)``."""
    (n, d), h = operands.a.shape, len(operands.b)
    request = replace(usual(subject), shape=(1, n, d, h), dtype=torch.float32)
    return [
        replace(request, rounding=PerOperand.both(Rounding(95, beta, granularity)), output=output)
        for granularity in ("tensor", "row")
        for output in OUTPUTS
    ]


def _beside_ties() -> PerOperand[Tensor]:
    """Return operands of scale 256 whose quotients are ties of each type, or one bit beside.

    α is 8. The last three columns alone meet in a product, which becomes ``2^30 + 2^k + j``: with k
    of 22, 19 and 6 a tie of bfloat16, float16 and float32 where j is 0. Where it is 1, the bit is
    lost if a product is rounded to float32 on its way to a shorter type.
    """
    a, b = torch.zeros(12, 200, device="cpu"), torch.zeros(8, 200, device="cpu")
    a[:, :100], b[:, 100:197] = 8.0, 8.0
    powers = torch.tensor([11.0, 10.0, 9.0, 3.0], device="cpu")
    a[:, 197], b[:, 197] = 2.0**7, 2.0**7
    a[:, 198], b[:, 198] = 2 ** (powers.repeat(3) - 8), 2 ** (powers.repeat(2) - 8)
    a[:, 199] = torch.arange(3, device="cpu").repeat_interleave(4) / 256
    b[:, 199] = torch.tensor([1.0, -1.0], device="cpu").repeat_interleave(4) / 256
    a[1::3] *= -1
    return PerOperand(a, b)


def _quotients_on_ties() -> PerOperand[Tensor]:
    """Return operands of scale 7 whose quotients are sums of integers, many of them ties.

    ``1 / 49`` is not a float, so that a product with it misses the tie.
    """
    a, b = torch.ones(12, 60, device="cpu"), torch.ones(8, 60, device="cpu")
    a[:, 0] = torch.tensor([318.0, 2818.0, 2.0**24], device="cpu").repeat(4)
    a[:, 1] = 2.0 * torch.arange(12, device="cpu") + 1
    b[1::2, 1] = 2.0
    return PerOperand(a, b)


CHECKS = (route_requests, route_output, route_long_sums)
