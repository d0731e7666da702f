"""Checks that a route depends only on the operands of the run."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.oracle import Wide
from accelsim.types import PerOperand, PreparedOperand
from gemm_backends.conformance.check import CheckFailed, check
from gemm_backends.conformance.layouts import poison
from gemm_backends.conformance.routes.opened import Opened, Ran, each
from gemm_backends.conformance.routes.requests import WEIGHT, usual, varied, worded
from gemm_backends.conformance.routes.values import KINDS
from gemm_backends.conformance.subject import Subject

SEQUENCES = (
    tuple(KINDS),
    ("many heavy hitters", "no heavy hitters", "a negative last column", "zeros between"),
    ("a positive first column", "a negative first column", "a positive first column"),
    ("entries of all sizes", "a positive last corner of the last head", "a negative first row"),
)
"""Kinds of values that come one after the other; the first is what a route may plan by."""

JUNK = 0x5A5A5A5A


@check
def route_new_values(subject: Subject) -> str:
    """Fused routes take new values of another kind in every run, heavy hitters of either sign."""
    runs = 0
    for seed, sequence in enumerate(SEQUENCES):
        for route in each(subject, varied(subject)):
            turned = islice(cycle(sequence), 1, None)
            for index, kinds in enumerate(zip(sequence, turned, strict=False)):
                pair = PerOperand(kinds[index % 2], kinds[1 - index % 2])
                what = f"run {index + 1} of one route, A with {pair.a}, B with {pair.b}"
                route.verify(route.draw(pair, 100 * seed + 2 * index), what)
                runs += 1
    return f"{runs} runs, up to {len(KINDS)} of one route"


@check
def route_prepared(subject: Subject) -> str:
    """Operands prepared once hold for any rows of the other, and stay what they were."""
    request = replace(usual(subject), shape=(1, None, 96, 40), fixed=WEIGHT)
    row = request.rounding.map(lambda rounding: replace(rounding, granularity="row"))
    requests = [request, replace(request, rounding=row, output=torch.bfloat16)]
    runs = 0
    for route in each(subject, requests):
        runs += _verify_prepared(route)
    return f"{runs} runs with 3 weights"


def _verify_prepared(route: Opened) -> int:
    light, heavy = "no heavy hitters", "many heavy hitters"
    weight = route.draw(PerOperand.both(light), 0).b
    first, changed = weight.clone(), route.draw(PerOperand.both(heavy), 2).b
    prepared = _prepared(route, weight)
    runs = [
        (rows, kind, prepared, first, f"{rows} rows of A")
        for rows, kind in ((9, light), (1, heavy), (0, light), (33, heavy), (9, light))
    ]
    for seed, (rows, kind, given, floats, what) in enumerate(runs):
        _verify_with(route, given, floats, kind, what, rows, seed)
    weight.copy_(changed)
    _verify_with(route, prepared, first, light, "the source of a prepared B was overwritten", 9, 7)
    again = _prepared(route, weight)
    _verify_with(route, again, changed, light, "B was overwritten and prepared again", 9, 8)
    _verify_with(route, prepared, first, heavy, "the B that was prepared first", 9, 9)
    weight.zero_()
    _verify_with(route, again, changed, heavy, "the B that was prepared second", 9, 10)
    return len(runs) + 4


def _prepared(route: Opened, weight: Tensor) -> PreparedOperand:
    prepared: object = route.route.prepare("b", weight)
    if not isinstance(prepared, PreparedOperand):
        raise CheckFailed(f"prepare() returned {type(prepared).__name__}, not a PreparedOperand")
    if prepared.side != "b" or tuple(prepared.shape) != tuple(weight.shape):
        raise CheckFailed(
            f"prepare('b', {[*weight.shape]}) says side {prepared.side!r}, {[*prepared.shape]}"
        )
    return prepared


def _verify_with(
    route: Opened,
    prepared: PreparedOperand,
    floats: Tensor,
    kind: str,
    what: str,
    rows: int,
    seed: int,
) -> None:
    a = route.draw(PerOperand.both(kind), seed, rows).a
    route.verify(PerOperand(a, floats), what, PerOperand(a, prepared))


@check
def route_results(subject: Subject) -> str:
    """Results stay what they are, and every entry of a new one is written."""
    runs = 0
    requests = [
        replace(request, output=output)
        for request in varied(subject)
        for output in dict.fromkeys((None, request.output))
    ]
    for route in each(subject, requests):
        runs += _verify_results(route)
    return f"{runs} runs, with junk in what earlier ones returned and in free memory"


def _verify_results(route: Opened) -> int:
    kinds = PerOperand("zeros between", "zeros between")
    operands = route.draw(kinds, 0)
    first = route.verify(operands, "the first run")
    kept = [x.clone() if isinstance(x, Tensor) else x.copy() for x in _results(first)]
    route.verify(route.draw(PerOperand.both("many heavy hitters"), 2), "the second run")
    for name, result, before in zip(("output", "integers"), _results(first), kept, strict=True):
        if not _equal(result, before):
            raise CheckFailed(
                f"{worded(route.request)}: the {name} of the first run changed in the second"
            )
    _spoil(first)
    sizes = {x.nbytes for x in _results(first)}
    seeds = (0, 0, 4)
    for seed in seeds:
        operands = route.draw(kinds, seed)
        poison(str(route.request.device), *sizes)
        _spoil(route.verify(operands, "a run after junk was written to earlier results"))
    return 2 + len(seeds)


def _results(ran: Ran) -> list[Tensor | Wide]:
    return [ran.output, ran.integers]


def _equal(x: Tensor | Wide, y: Tensor | Wide) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.equal(x, y)
    return bool(np.all(x == y))


def _spoil(ran: Ran) -> None:
    for result in _results(ran):
        if isinstance(result, Tensor):
            result.fill_(torch.nan if result.is_floating_point() else JUNK)


CHECKS = (route_new_values, route_prepared, route_results)
