"""Run the checks without pytest."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from gemm_backends.actions import Outcome
from gemm_backends.base import GemmBackend
from gemm_backends.conformance import (
    accumulation,
    claims,
    corrected,
    exactness,
    large,
    layouts,
    operands,
    routes,
    running,
    sparse,
)
from gemm_backends.conformance.causes import raised
from gemm_backends.conformance.check import Check, CheckFailed, NotApplicable
from gemm_backends.conformance.subject import Subject
from gemm_backends.errors import place_in
from gemm_backends.operands import Prepared
from gemm_backends.types import Status

CHECKS: tuple[Check, ...] = (
    *exactness.CHECKS,
    *large.CHECKS,
    *accumulation.CHECKS,
    *operands.CHECKS,
    *layouts.CHECKS,
    *sparse.CHECKS,
    *corrected.CHECKS,
    *claims.CHECKS,
    *running.CHECKS,
    *routes.CHECKS,
)
"""Every check of the kit, in the order in which they run."""


def verify(
    backend: GemmBackend,
    on_error: Callable[[BaseException], None] = lambda error: None,
    done: Sequence[Outcome] = (),
    note: Callable[[str, str], None] = lambda check, where: None,
) -> Iterator[Outcome]:
    """Run every check on a backend and yield what came of each.

    Parameters
    ----------
    backend : GemmBackend
        An instance, available on this machine.
    on_error : callable
        Is given the exception of every check that fails, to show its traceback.
    done : sequence of Outcome
        What came of checks that ran before, in another process; they do not run again.
    note : callable
        Is given the name of the check and the shape before every product, so that if native code
        ends the process, others know in which one.

    Yields
    ------
    Outcome
        In the order of `CHECKS`.
    """
    subject = Subject(backend)
    ran = {outcome.name: outcome for outcome in done}
    for item in CHECKS:
        if item.name in ran:
            yield ran[item.name]
            continue
        note(item.name, "none yet")
        with _noting(backend, partial(note, item.name)):
            outcome = run_check(item, subject, on_error)
        yield outcome


@contextmanager
def _noting(backend: GemmBackend, note: Callable[[str], None]) -> Iterator[None]:
    """Let a backend tell the shape of every product before it begins."""
    multiply, numbers = backend.multiply, itertools.count(1)

    def noted(a: Tensor | Prepared, b: Tensor | Prepared) -> Tensor:
        note(f"{[*a.shape]} x {[*b.shape]}, product {next(numbers)} of this check")
        return multiply(a, b)

    vars(backend)["multiply"] = noted
    try:
        yield
    finally:
        vars(backend).pop("multiply", None)


def run_check(
    item: Check,
    subject: Subject,
    on_error: Callable[[BaseException], None] = lambda error: None,
) -> Outcome:
    """Run one check; any exception of the backend is a failure of the check, never an error."""
    start = time.perf_counter()
    status, detail, cause = _run(item, subject, on_error)
    return Outcome(item.name, status, detail, time.perf_counter() - start, cause)


def _run(
    item: Check, subject: Subject, on_error: Callable[[BaseException], None]
) -> tuple[Status, str, str]:
    try:
        return "passed", item.run(subject), ""
    except NotApplicable as reason:
        return "skipped", str(reason), ""
    except CheckFailed as failure:
        on_error(failure)
        return "failed", str(failure), failure.cause
    except (Exception, SystemExit) as error:  # a library may end the process
        on_error(error)
        where = place_in(error, type(subject.backend))
        message = f"raised {type(error).__name__}: {error}{where}"
        return "failed", message, raised(error)
