"""Exceptions that backends raise."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from accelsim.errors import AccelsimError
from gemm_backends.types import OverflowReport


class BackendError(AccelsimError):
    """A backend broke its contract, such as by returning a float or a wrong shape."""


class AccumulatorOverflow(AccelsimError):  # noqa: N818 - the name is part of the plug-in API
    """A sum did not fit an accumulator whose overflow is ``"error"``.

    Parameters
    ----------
    report : OverflowReport, str or None
        How many steps overflowed, and the first one; or a message, where that is unknown.
    """

    def __init__(self, report: OverflowReport | str | None = None) -> None:
        self.report = report if isinstance(report, OverflowReport) else OverflowReport()
        super().__init__(report if isinstance(report, str) else _message(self.report))


def _message(report: OverflowReport) -> str:
    count = "some" if report.count is None else str(report.count)
    first = "" if report.first is None else f", first at (row, column, k) = {report.first}"
    return f"the accumulator overflowed in {count} steps{first}"


def place_in(error: BaseException, backend: type) -> str:
    """Return where in a backend's own file an error was raised; nothing if it was not there."""
    file = getattr(sys.modules.get(backend.__module__), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    if not own:
        return ""
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name})"
