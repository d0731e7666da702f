"""A route under test, with what it must give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.oracle import Wide, compare
from accelsim.errors import DataError
from accelsim.measure.timing import Untimed
from accelsim.types import SIDES, Counts, PerOperand, PreparedOperand, Request, Route, Side
from gemm_backends.conformance.check import CheckFailed, NotApplicable
from gemm_backends.conformance.routes.reference import (
    ReferenceProduct,
    expected,
    not_rounded_once,
    rounded,
)
from gemm_backends.conformance.routes.requests import worded
from gemm_backends.conformance.routes.values import draw
from gemm_backends.conformance.subject import Subject
from gemm_backends.routes import fused_route
from gemm_backends.types import Support

NORMAL, LARGE = 2.0**-126, 2.0**125
"""Between these no operand needs to be multiplied by a power of two before it is rounded."""

Given = PerOperand[Tensor | PreparedOperand]


@dataclass(frozen=True)
class Ran:
    """The results of a route for one pair of operands.

    Parameters
    ----------
    output : Tensor or ndarray of object
        What `run` returned.
    integers : Tensor or ndarray of object
        The integers.
    scales : PerOperand of Tensor
        The scales.
    counts : Counts
        What it took.
    """

    output: Tensor | Wide
    integers: Tensor | Wide
    scales: PerOperand[Tensor]
    counts: Counts


class Opened:
    """A route that a backend gave for a request.

    Parameters
    ----------
    request : Request
        The request.
    route : Route
        What it gave.
    """

    def __init__(self, request: Request, route: Route) -> None:
        self.request = request
        self.route = route

    def draw(self, kinds: PerOperand[str], seed: int, rows: int = 9) -> PerOperand[Tensor]:
        """Return operands of this request; A has `rows` where it leaves their number open."""
        batch, n, d, h = self.request.shape
        heads = () if batch == 1 else (batch,)
        shapes = PerOperand((*heads, rows if n is None else n, d), (*heads, h, d))
        a, b = (draw(kinds.of(side), shapes.of(side), seed + (side == "b")) for side in SIDES)
        return PerOperand(self.placed(a), self.placed(b))

    def placed(self, x: Tensor) -> Tensor:
        """Return values in the type and on the device of the request."""
        return x.to(self.request.dtype).to(self.request.device)

    def given(self, operands: PerOperand[Tensor]) -> Given:
        """Return what the route is run with: operands that stay are prepared."""
        a, b = (
            self.route.prepare(side, operands.of(side))
            if side in self.request.fixed
            else operands.of(side)
            for side in SIDES
        )
        return PerOperand(a, b)

    def run(self, given: Given) -> Ran:
        """Run the route and ask for everything that it has to say."""
        output = self.route.run(given.a, given.b, Untimed())
        self.route.check()
        return Ran(output, self.route.integers(), self.route.scales(), self.route.counts())

    def verify(self, operands: PerOperand[Tensor], what: str, given: Given | None = None) -> Ran:
        """Run the route and compare all that it gives with what must come out.

        Parameters
        ----------
        operands : PerOperand of Tensor
            The float operands.
        what : str
            The operands in words.
        given : PerOperand of Tensor or PreparedOperand, optional
            What to run with; by default what `given` makes of them.

        Raises
        ------
        CheckFailed
            If anything differs, or the route raises.
        """
        what = f"{worded(self.request)}; {what}"
        try:
            ran = self.run(given or self.given(operands))
        except Exception as error:
            raise CheckFailed(
                f"{what}: raised {type(error).__name__}: {error}; a route is exact for every value"
            ) from error
        self.compare(ran, operands, what)
        return ran

    def compare(self, ran: Ran, operands: PerOperand[Tensor], what: str) -> None:
        """Compare integers, scales and the output with what must come out of the operands.

        Raises
        ------
        CheckFailed
            If anything differs.
        """
        exponents = ran.counts.scale_exponent
        right = expected(operands.a, operands.b, self.request.rounding, exponents)
        _same_integers(ran.integers, right, f"{what}: the integers")
        for side in SIDES:
            _same_scale(ran, right, side, what)
            scale = rounded(operands.of(side), self.request.rounding.of(side)).scale
            if exponents.of(side) and bool(((scale >= NORMAL) & (scale < LARGE)).all()):
                raise CheckFailed(
                    f"{what}: {side.upper()} was multiplied by 2**{exponents.of(side)}, and its "
                    "scale fits float32"
                )
        if self.request.output is None:
            _same_integers(ran.output, right, f"{what}: the output")
        else:
            self.compare_output(ran.output, right, what)

    def compare_output(self, output: Tensor | Wide, right: ReferenceProduct, what: str) -> None:
        """Compare floats with the quotients of integers and scales.

        Raises
        ------
        CheckFailed
            If an entry is not the quotient rounded once.
        """
        _same_form(output, right, self.request.output, f"{what}: the output")
        assert isinstance(output, Tensor)
        wrong = not_rounded_once(output, right).nonzero()
        if len(wrong):
            first = tuple(wrong[0].tolist())
            raise CheckFailed(
                f"{what}: {len(wrong)} of {output.numel()} floats are not the exact quotient "
                f"rounded once, first at {first}: got {output[first].item()!r}, the quotient is "
                f"{right.quotient(first)}"
            )


def opened(subject: Subject, request: Request) -> Opened | Support:
    """Ask the backend for a route; return it under test, or the refusal."""
    route = fused_route(subject.backend, request)
    return route if isinstance(route, Support) else Opened(request, route)


def each(subject: Subject, requests: Sequence[Request]) -> Iterator[Opened]:
    """Yield the routes that a backend gives for some requests.

    Raises
    ------
    NotApplicable
        If it gives none.
    """
    refusals = []
    for request in requests:
        route = opened(subject, request)
        if isinstance(route, Support):
            refusals.append(route.reason)
        else:
            yield route
    if len(refusals) == len(requests):
        raise NotApplicable(refusals[0])


def must_raise(call: Callable[[], object], name: str, what: str) -> None:
    """Require that a call raises a DataError that names an operand.

    Raises
    ------
    CheckFailed
        If it does not.
    """
    try:
        call()
    except DataError as error:
        if name not in str(error):
            raise CheckFailed(f"{what}: the error does not name {name!r}: {error}") from error
        return
    except Exception as error:
        raise CheckFailed(
            f"{what}: raised {type(error).__name__} instead of a DataError: {error}"
        ) from error
    raise CheckFailed(f"{what}: neither run() nor check() raised a DataError")


def _same_integers(found: Tensor | Wide, right: ReferenceProduct, what: str) -> None:
    _same_form(found, right, None, what)
    verdict = compare(found, right.integers)
    if verdict.first is not None:
        first = verdict.first
        count = math.prod(right.integers.shape)
        raise CheckFailed(
            f"{what}: {verdict.mismatches} of {count} entries differ, first at {first.index}: got "
            f"{first.found}, expected {first.expected}"
        )


def _same_form(
    found: Tensor | Wide, right: ReferenceProduct, dtype: torch.dtype | None, what: str
) -> None:
    shape = tuple(right.integers.shape)
    if not isinstance(found, Tensor | np.ndarray) or tuple(found.shape) != shape:
        form = [*found.shape] if hasattr(found, "shape") else type(found).__name__
        raise CheckFailed(f"{what} should have shape {[*shape]}, got {form}")
    if isinstance(found, Tensor):
        allowed = (torch.int32, torch.int64) if dtype is None else (dtype,)
        if found.dtype not in allowed:
            raise CheckFailed(f"{what} should be {' or '.join(map(str, allowed))}: {found.dtype}")
    elif dtype is not None or found.dtype != object:
        raise CheckFailed(
            f"{what} should be {dtype or 'Python integers'}: an array of {found.dtype}"
        )


def _same_scale(ran: Ran, right: ReferenceProduct, side: Side, what: str) -> None:
    found, wanted = ran.scales.of(side), right.operands.of(side).scale
    if not isinstance(found, Tensor) or found.dtype != torch.float32 or found.shape != wanted.shape:
        form = f"{found.dtype} {[*found.shape]}" if isinstance(found, Tensor) else repr(found)
        raise CheckFailed(
            f"{what}: the scale of {side.upper()} should be float32 {[*wanted.shape]}, got {form}"
        )
    wrong = (found.cpu() != wanted).nonzero()
    if len(wrong):
        first = tuple(wrong[0].tolist())
        raise CheckFailed(
            f"{what}: the scale of {side.upper()} at {first} is {found[first].item()!r} instead of "
            f"{wanted[first].item()!r}"
        )
