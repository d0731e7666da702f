"""Run the checks without pytest."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from gemm_backends.base import GemmBackend
from gemm_backends.conformance import accumulation, claims, exactness, operands, running, sparse
from gemm_backends.conformance.check import Check, CheckFailed, NotApplicable
from gemm_backends.conformance.subject import Subject
from gemm_backends.types import Outcome, Status

CHECKS: tuple[Check, ...] = (
    *exactness.CHECKS,
    *accumulation.CHECKS,
    *operands.CHECKS,
    *sparse.CHECKS,
    *claims.CHECKS,
    *running.CHECKS,
)
"""Every check of the kit, in the order in which they run."""


def verify(
    backend: GemmBackend, on_error: Callable[[BaseException], None] = lambda error: None
) -> Iterator[Outcome]:
    """Run every check on a backend and yield what came of each.

    Parameters
    ----------
    backend : GemmBackend
        An instance, available on this machine.
    on_error : callable
        Is given the exception of every check that fails, to show its traceback.

    Yields
    ------
    Outcome
        In the order of `CHECKS`.
    """
    subject = Subject(backend)
    for item in CHECKS:
        yield run_check(item, subject, on_error)


def run_check(
    item: Check,
    subject: Subject,
    on_error: Callable[[BaseException], None] = lambda error: None,
) -> Outcome:
    """Run one check; whatever the backend raises is a failure of the check, never an error."""
    start = time.perf_counter()
    status, detail = _run(item, subject, on_error)
    return Outcome(item.name, status, detail, time.perf_counter() - start)


def _run(
    item: Check, subject: Subject, on_error: Callable[[BaseException], None]
) -> tuple[Status, str]:
    try:
        return "passed", item.run(subject)
    except NotApplicable as reason:
        return "skipped", str(reason)
    except CheckFailed as failure:
        on_error(failure)
        return "failed", str(failure)
    except Exception as error:
        on_error(error)
        where = _place(error, type(subject.backend))
        return "failed", f"raised {type(error).__name__}: {error}{where}"


def _place(error: BaseException, backend: type[GemmBackend]) -> str:
    """Say where in the backend's own file an error was raised, if it was there."""
    file = getattr(sys.modules.get(backend.__module__), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    if not own:
        return ""
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name})"
