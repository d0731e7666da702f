"""The search for the cheapest plan that keeps a target: plans are verified one by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from accelsim.config.plans import Plan, plan_from
from accelsim.records import RunFolder
from accelsim.records.tuning import TuneRecord
from accelsim.tuning.counts import count
from accelsim.tuning.curves import Grid
from accelsim.tuning.prices import Price
from accelsim.tuning.search import Search, label_of
from accelsim.tuning.solve import Solution
from accelsim.tuning.subject import Say, Subject, Verification
from accelsim.tuning.target import Target
from gemm_backends import GemmBackend

ROUNDS = 6
"""Verifications of one search, at most."""

FINEST = "the finest of the grid"

UNIFORM = 3
"""Plans of one β for all that are verified beside the plan that was found, at most."""

NEAR = 1.25
"""Such a plan may have errors that are predicted to be larger by this factor."""

CLOSE = 1.1
"""Budgets of the prediction, one that held and one that did not, are this close in the end."""


class Bracket:
    """What may be predicted, between a budget that held when it was measured and one that did not.

    Parameters
    ----------
    budget : float
        The harm that is allowed.

    Attributes
    ----------
    allowed : float
        What the errors of the next plan may add up to.
    """

    def __init__(self, budget: float) -> None:
        self._budget = self.allowed = budget
        self._held, self._failed = 0.0, math.inf

    def measured(self, harm: float) -> bool:
        """Set the next `allowed` by the harm of this one; return whether it is worth a trial."""
        if harm <= self._budget:
            self._held = max(self._held, self.allowed)
            factor = 0.95 * self._budget / max(harm, self._budget / 8)
            factor = min(4.0, max(1.25, factor))
        else:
            self._failed = min(self._failed, self.allowed)
            factor = max(0.25, 0.85 * self._budget / harm)
        if self._failed <= CLOSE * self._held:
            return False
        self.allowed *= factor
        if not self._held < self.allowed < self._failed:
            self.allowed = math.sqrt(self._held * self._failed)
        return True


class Tuning:
    """Verifies plans, each once, and searches for the cheapest that keeps a target.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    search : Search
        Its options.
    price : Price
        What is made small.
    target : Target
        What a plan has to keep.
    verification : Verification
        Evaluates plans.
    backend : callable
        Counts their products, for some width of digits.
    folder : RunFolder
        Gets a record of each plan that was verified; those that it has are not verified again.
    say : callable
        Called with what is being done.
    """

    def __init__(
        self,
        subject: Subject,
        search: Search,
        price: Price,
        target: Target,
        verification: Verification,
        backend: Callable[[int], GemmBackend],
        folder: RunFolder[TuneRecord],
        say: Say,
    ) -> None:
        self._subject, self._search, self._price, self._target = subject, search, price, target
        self._verification, self._backend = verification, backend
        self._folder, self._say = folder, say

    def verified(self, label: str, solution: Solution, plan: Plan | None = None) -> TuneRecord:
        """Return the record of a choice, or of the plan with its cost; evaluate it if need be."""
        about = {"model": self._subject.name, "target": self._target.text, "found": label}
        values = (self._search.plan(solution) if plan is None else plan).to_dict()
        plan = plan_from({"schema": values["schema"], "about": about, "gemms": values["gemms"]})
        known = {record.plan_sha256: record for record in self._folder.records}
        if plan.hash in known:
            return known[plan.hash]
        start = time.perf_counter()
        found = self._verification.values(plan)
        harm = self._verification.harm(self._target, found)
        counted = count(self._subject.model, self._verification.run_one, plan, self._backend)
        record = TuneRecord(
            model=self._subject.name,
            text_sha256=self._subject.digest,
            label=label,
            plan=plan.to_dict(),
            plan_sha256=plan.hash,
            target=self._target.text,
            predicted=solution.error,
            metric=self._target.metric,
            floats=self._verification.floats[0],
            tuned=found[0],
            held_out=found[1],
            harm=harm,
            meets=harm <= self._target.budget,
            cost=solution.cost,
            cost_unit=self._price.unit,
            dense_macs=counted.dense_macs,
            low_bit_macs=counted.low_bit_macs,
            cycles=counted.cycles,
            energy=counted.energy,
            seconds=time.perf_counter() - start,
        )
        self._folder.append(record)
        self._say(
            f"{label}: {self._target.shown(harm)}, predicted "
            f"{self._target.shown(solution.error)}, r = {record.ratio:.4f}"
            f"{'' if record.meets else '; beyond the target'}"
        )
        return record

    def cheapest(self, budget: float, label: str = "tuned") -> TuneRecord | None:
        """Search for the cheapest plan whose harm is within a budget, None if none was found.

        What was measured corrects what may be predicted, until a plan holds on both texts and a
        slightly cheaper one does not.
        """
        bracket, best = Bracket(budget), None
        seen: set[str] = set()
        for attempt in range(ROUNDS):
            solution = self._search.solve(bracket.allowed)
            if solution is None:  # what is predicted may be too much: the finest plan tells
                solution = self._search.finest()
                bracket.allowed = solution.error
                record = self.verified(FINEST, solution)
            else:
                record = self.verified(f"{label}, attempt {attempt + 1}", solution)
            if record.plan_sha256 in seen:
                break
            seen.add(record.plan_sha256)
            if record.harm <= budget:
                best = record if best is None or record.cost < best.cost else best
            if not bracket.measured(record.harm):
                break
        return best

    def beside(self, best: TuneRecord, grid: Grid) -> TuneRecord | None:
        """Search for the cheapest plan of one β for all that keeps the target as a plan does.

        Those whose predicted errors are near the plan's are verified, the cheapest first, until one
        holds; None if none of `UNIFORM` does.
        """
        found = [
            (solution.cost, label_of(bits, setting), plan, solution)
            for bits in grid.bits
            for setting in grid.settings
            for plan, solution in [self._search.uniform(bits, setting)]
            if solution.error <= NEAR * (best.predicted or 0.0) and math.isfinite(solution.cost)
        ]
        for _, label, plan, solution in sorted(found, key=lambda one: one[0])[:UNIFORM]:
            record = self.verified(label, solution, plan)
            if record.meets:
                return record
        return None

    def nearest(self) -> TuneRecord:
        """Verify the plan with the least errors that the grid has."""
        return self.verified(FINEST, self._search.finest())
