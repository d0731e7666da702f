"""The protocol of what makes the records for the loop over cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from accelsim.records import Record
from accelsim.records.record import Minimised
from accelsim.runner.cases import Case


class Maker(Protocol):
    """Makes the records of cases, in this process or in others."""

    @property
    def is_here(self) -> bool:
        """Whether this machine makes the records, so that its roofs bound them."""

    def facts(self) -> dict[str, Any]:
        """Return further facts about the session for ``run.json``."""

    def records(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Record]]:
        """Make the record of every case and yield it when it is done; failures are records, too.

        Parameters
        ----------
        cases : Sequence[Case]
            What to compute, in order.
        """

    def minimise(self, case: Case, entry: tuple[int, ...], folder: Path) -> Minimised | None:
        """Save the smallest GEMM that shows a mismatch; None if it does not show again.

        Parameters
        ----------
        case : Case
            The case of an inexact record.
        entry : tuple[int, ...]
            The index of an entry of C that differs.
        folder : Path
            Where the smallest GEMM is written.
        """

    def peak(self, case: Case) -> float | None:
        """Return how fast the backend of a case multiplies at best, in 10^12 operations/s.

        Parameters
        ----------
        case : Case
            A case whose backend has roofs to measure.
        """

    def close(self) -> None:
        """Release all resources."""
