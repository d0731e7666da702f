"""Results of the repeats of a case, as fields of its record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from accelsim.arithmetic.oracle import Verdict
from accelsim.errors import unknown_name
from accelsim.measure.timing import Samples
from accelsim.records import Status
from accelsim.records.record import FirstMismatch, Stage
from accelsim.runner.trial import Judgement
from accelsim.types import SIDES, Counts, Side
from gemm_backends import BackendError

STAGES = get_args(Stage)


@dataclass
class Findings:
    """Results of the repeats of a case.

    Parameters
    ----------
    judgement : Judgement
        Of the first repeat that was not right, or of the last.
    overflows : int
        Steps at which the backend reported an overflow, in the repeat that is judged.
    prepared : tuple of {"a", "b"}
        Operands that had been prepared before every timed repeat.
    replans : int
        Times that a fused route met operands beyond its plan in timed repeats.
    baselines : dict
        Times of the baselines, where they were called in turn with the repeats.
    """

    judgement: Judgement = field(default_factory=lambda: Judgement(Verdict(0, 0)))
    overflows: int = 0
    prepared: tuple[Side, ...] | None = None
    replans: int = 0
    baselines: dict[str, Samples] = field(default_factory=dict)
    _before: int = 0

    @property
    def only_floats_wrong(self) -> bool:
        """Whether every integer was equal, and a float was not the one nearest to its quotient."""
        return self.judgement.integers.exact and self.judgement.floats > 0

    def see(self, counts: Counts, timed: bool) -> None:
        """Take the counts of a repeat."""
        if self.judgement.right:
            self.overflows = counts.overflows
        if not timed:
            self._before = counts.replans
            return
        earlier = SIDES if self.prepared is None else self.prepared
        self.prepared = tuple(side for side in earlier if side in counts.prepared)
        self.replans = counts.replans - self._before


def first_mismatch(verdict: Verdict) -> FirstMismatch | None:
    """Return the first wrong integer as a record has it."""
    first = verdict.first
    if first is None:
        return None
    return FirstMismatch(index=list(first.index), expected=first.expected, found=first.found)


def check_stages(names: Iterable[str]) -> None:
    """Check that a route timed only stages that records know.

    Raises
    ------
    BackendError
        If it has.
    """
    for name in names:
        if name not in STAGES:
            raise BackendError(f"a route timed {unknown_name('stage', name, STAGES)}")


def count_fields(counts: Counts) -> dict[str, Any]:
    """Return the fields of a record that hold what a run took."""
    same = (
        "strategy_chosen", "ratio", "dense_macs", "low_bit_macs", "correction_macs", "sparse_macs",
        "executed_macs", "shift_adds", "gather_bytes", "scatter_bytes", "gemm_bytes", "products",
        "k_pieces", "max_digits_a", "max_digits_b", "out_of_bound_a", "out_of_bound_b",
    )  # fmt: skip
    return {**{name: getattr(counts, name) for name in same}, **counts.modelled}


def status_of(found: Findings, clipped: bool) -> tuple[Status, str]:
    """Return the status of a record, and the reason where it is not ok.

    Parameters
    ----------
    found : Findings
        What the repeats gave.
    clipped : bool
        Whether an accumulator saturated, which integers that are equal all the same do not excuse.
    """
    verdict = found.judgement.integers
    if found.judgement.right and not clipped:
        return Status.OK, ""
    if found.overflows:
        steps = "1 step" if found.overflows == 1 else f"{found.overflows} steps"
        chance = ", and that every integer is equal is chance" if verdict.exact else ""
        return Status.OVERFLOW, f"the accumulator overflowed at {steps}{chance}"
    if found.only_floats_wrong:
        wrong = found.judgement.floats
        return Status.INEXACT, f"{wrong} floats are not the exact product divided and rounded once"
    reason = f"{verdict.mismatches} entries differ by up to {verdict.max_abs_error}"
    return Status.INEXACT, reason
