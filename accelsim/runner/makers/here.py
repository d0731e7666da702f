"""Records made in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from accelsim.config import RunConfig
from accelsim.plugins.guest import guest
from accelsim.records import Record
from accelsim.records.record import Minimised
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import Case


class Here:
    """Makes records in this process, one after the other; see `Maker`.

    Parameters
    ----------
    config : RunConfig
        What is run.
    """

    is_here = True

    def __init__(self, config: RunConfig) -> None:
        self._bench = CaseBench(config)

    def facts(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def records(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Record]]:
        """Make the records in the order of their cases."""
        for case in cases:
            with guest():
                record = self._bench.record(case)
            yield case, record

    def minimise(self, case: Case, entry: tuple[int, ...], folder: Path) -> Minimised | None:
        """Save the smallest GEMM that shows a mismatch."""
        with guest():
            return self._bench.minimise(case, entry, folder)

    def peak(self, case: Case) -> float | None:
        """Return how fast the backend of a case multiplies at best, in 10^12 operations/s."""
        with guest():
            return self._bench.peak(case)

    def close(self) -> None:
        """Release the operands."""
        self._bench.close()
