"""The search for the cheapest plan that keeps a target, with predictions and verifications."""

from __future__ import annotations

import glob
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from accelsim.config.plans import Plan, plan_from
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.tuning.counts import count
from accelsim.tuning.curves import Curve, Curves, Grid, Setting, of_gemm
from accelsim.tuning.places import Place
from accelsim.tuning.prices import Price
from accelsim.tuning.solve import Floats, Solution, cheapest, least
from accelsim.tuning.subject import Say, Subject, Verification
from accelsim.tuning.target import Target
from gemm_backends import GemmBackend

ROUNDS = 6
"""Verifications of one search, at most."""

FINEST = "the finest of the grid"

CLOSE = 1.1
"""Budgets of the prediction, one that held and one that did not, are this close in the end."""

_NOTHING = 1e-12
"""Errors below this, and those that noise makes negative, count as this."""


class Predictions:
    """The error that each kind of operand of each place adds, at any percentile and β.

    Between measured settings the logarithm of the divergence is linear in that of the noise in the
    place's products; beyond them the divergence grows as the noise does.

    Parameters
    ----------
    records : sequence of SensitivityRecord
        What was measured.
    """

    def __init__(self, records: Sequence[SensitivityRecord]) -> None:
        self.settings: list[Setting] = list(
            dict.fromkeys((record.percentile, record.beta) for record in records)
        )
        """The percentiles and values of β that were measured."""
        self._measured: dict[tuple[str, str], dict[Setting, float]] = {}
        for record in records:
            own = self._measured.setdefault((record.gemm, record.kind), {})
            own[record.percentile, record.beta] = max(record.divergence, _NOTHING)

    def of(self, place: str, kind: str, curve: Curve) -> Floats:
        """Return the divergence at each setting of a curve.

        Parameters
        ----------
        place, kind : str
            Of the operand.
        curve : Curve
            Its noise.

        Raises
        ------
        InputError
            If it was not measured.
        """
        if (place, kind) not in self._measured:
            raise InputError(f"the sensitivity of {place}, {kind} was not measured")
        known = self._measured[place, kind]
        noise = dict(zip(self.settings, curve.measured, strict=True))
        points = sorted(
            (max(noise[setting], _NOTHING), known[setting])
            for setting in known
            if math.isfinite(noise[setting])
        )
        if not points:
            raise InputError(
                f"{place}, {kind}: what was measured makes too large integers on this text; "
                "measure the sensitivity at a higher percentile"
            )
        x, y = np.log(np.array(points)).T
        at = np.log(np.maximum(curve.noise, _NOTHING))
        found = np.interp(at, x, y)
        found = np.where(at < x[0], y[0] + at - x[0], found)
        found = np.where(at > x[-1], y[-1] + at - x[-1], found)
        return np.asarray(np.exp(found))


@dataclass(frozen=True)
class Option:
    """Settings of one place: the width of digits, and percentile and β by kind."""

    bits: int
    settings: Mapping[str, Setting]


class Search:
    """The options of every place with their costs and errors.

    Parameters
    ----------
    places : sequence of Place
        All of the model.
    grid : Grid
        The settings among which is chosen.
    predictions : Predictions
        Of errors.
    curves : Curves
        Unpack ratios and noise.
    price : Price
        What is made small.
    """

    def __init__(
        self,
        places: Sequence[Place],
        grid: Grid,
        predictions: Predictions,
        curves: Curves,
        price: Price,
    ) -> None:
        self._places, self._grid, self._price = places, grid, price
        self._errors_of = {
            (place.name, kind): predictions.of(place.name, kind, curve)
            for place in places
            for kind, curve in curves[place.name].items()
        }
        self._curves = curves
        self._options: list[list[Option]] = []
        self._costs: list[Floats] = []
        self._errors: list[Floats] = []
        for place in places:
            options = [
                (bits, dict(zip(place.distinct_kinds, chosen, strict=True)))
                for bits in grid.bits
                for chosen in product(
                    *(self._worthwhile(place, kind, bits) for kind in place.distinct_kinds)
                )
            ]
            found = [self._option(place, bits, indices) for bits, indices in options]
            self._options.append([option for option, _, _ in found])
            self._costs.append(np.array([cost for _, cost, _ in found]))
            self._errors.append(np.array([error for _, _, error in found]))

    def _worthwhile(self, place: Place, kind: str, bits: int) -> list[int]:
        """Return the settings of a kind that no other beats in both ratios and error."""
        own = self._curves[place.name][kind].ratios
        ratios = np.array([own[of_gemm(g, bits)] for g in place.gemms if g.sides(kind)])
        errors = self._errors_of[place.name, kind]
        kept: list[int] = []
        for index in np.lexsort((errors, ratios.sum(0))):
            beaten = (errors[kept] <= errors[index]) & np.all(
                ratios[:, kept] <= ratios[:, [index]], axis=0
            )
            if not beaten.any():
                kept.append(int(index))
        return kept

    def _option(
        self, place: Place, bits: int, indices: Mapping[str, int]
    ) -> tuple[Option, float, float]:
        """Return an option by the indices of its settings, with its cost and its error."""
        settings = {kind: self._grid.settings[index] for kind, index in indices.items()}
        curves = self._curves[place.name]
        cost = 0.0
        for gemm in place.gemms:
            key, (a, b) = of_gemm(gemm, bits), (gemm.kinds.a, gemm.kinds.b)
            pair = tuple(curves[kind].ratios[key][indices[kind]] for kind in (a, b))
            if a == b:  # it is the product of both
                pair = math.sqrt(pair[0]), math.sqrt(pair[1])
            cost += self._price.cost(gemm, bits, (pair[0], pair[1]))
        errors = (self._errors_of[place.name, kind][index] for kind, index in indices.items())
        return Option(bits, settings), cost, float(sum(errors))

    def solve(self, budget: float) -> Solution | None:
        """Return the cheapest choice within a budget of errors, None if there is none."""
        return cheapest(self._costs, self._errors, budget)

    def finest(self) -> Solution:
        """Return the choice of the least errors."""
        return least(self._costs, self._errors)

    def uniform(self, bits: int, setting: Setting) -> tuple[Plan, Solution]:
        """Return one setting and one width for all, as a plan with its cost and its error."""
        index = self._grid.settings.index(setting)
        found = [
            self._option(place, bits, dict.fromkeys(place.distinct_kinds, index))
            for place in self._places
        ]
        options = [option for option, _, _ in found]
        cost, error = sum(c for _, c, _ in found), sum(e for _, _, e in found)
        return self._plan(options), Solution([index] * len(found), cost, error)

    def plan(self, solution: Solution) -> Plan:
        """Write a choice as a plan."""
        pairs = zip(self._options, solution.chosen, strict=True)
        return self._plan([options[index] for options, index in pairs])

    def _plan(self, chosen: Sequence[Option]) -> Plan:
        grid = self._grid
        gemms: dict[str, Any] = {
            "*": {
                "granularity": grid.granularity,
                "zero_alpha": "nonzero",
                "strategy": grid.strategy.to_record(),
                "block": grid.block,
            }
        }
        for place, option in zip(self._places, chosen, strict=True):
            kinds = {
                kind: {"percentile": _plain(percentile), "beta": _plain(beta)}
                for kind, (percentile, beta) in option.settings.items()
            }
            gemms[glob.escape(place.name)] = {**kinds, "bits": option.bits}
        return plan_from({"schema": 1, "gemms": gemms})


def _plain(beta: float) -> float:
    return int(beta) if float(beta).is_integer() else beta


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

    def nearest(self) -> TuneRecord:
        """Verify the plan with the least errors that the grid has."""
        return self.verified(FINEST, self._search.finest())
