"""The search for the cheapest plan that keeps a target, with predictions and verifications."""

from __future__ import annotations

import glob
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.config.plans import Plan, plan_from
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import SensitivityRecord, TuneRecord
from accelsim.tuning.curves import Curves, Grid
from accelsim.tuning.places import Place
from accelsim.tuning.prices import Price
from accelsim.tuning.solve import Floats, Solution, cheapest, least
from accelsim.tuning.subject import Subject
from accelsim.tuning.target import Target
from accelsim.tuning.verifying import Verification, count
from gemm_backends import GemmBackend

Say = Callable[[str], None]

ROUNDS = 6
"""Verifications of one search, at most."""

FINEST = "the finest of the grid"

CLOSE = 0.75
"""A plan that uses this share of the target is not made cheaper."""

_NOTHING = 1e-12
"""Errors below this, and those that noise makes negative, count as this."""


class Predictions:
    """The error that each kind of operand of each place adds, at any β.

    Between measured values of β the logarithm of the divergence is linear in that of β; beyond
    them the divergence falls as 1 / β².

    Parameters
    ----------
    records : sequence of SensitivityRecord
        What was measured.
    """

    def __init__(self, records: Sequence[SensitivityRecord]) -> None:
        points: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for record in records:
            divergence = max(record.divergence, _NOTHING)
            points.setdefault((record.gemm, record.kind), []).append((record.beta, divergence))
        self._points = {key: sorted(found) for key, found in points.items()}

    def of(self, place: str, kind: str, betas: Sequence[float]) -> Floats:
        """Return the divergences at some values of β.

        Parameters
        ----------
        place, kind : str
            Of the operand.
        betas : sequence of float
            The values.

        Raises
        ------
        InputError
            If it was not measured.
        """
        if (place, kind) not in self._points:
            raise InputError(f"the sensitivity of {place}, {kind} was not measured")
        x, y = np.log(np.array(self._points[place, kind])).T
        at = np.log(np.asarray(betas, dtype=np.float64))
        found = np.interp(at, x, y)
        found = np.where(at < x[0], y[0] - 2 * (at - x[0]), found)
        found = np.where(at > x[-1], y[-1] - 2 * (at - x[-1]), found)
        return np.asarray(np.exp(found))


@dataclass(frozen=True)
class Option:
    """Settings of one place: the width of digits, and β by kind."""

    bits: int
    betas: Mapping[str, float]


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
        Unpack ratios.
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
        self._options: list[list[Option]] = []
        self._costs: list[Floats] = []
        self._errors: list[Floats] = []
        for place in places:
            options, costs, errors = [], [], []
            for chosen, indices in self._betas(place):
                error = sum(
                    float(predictions.of(place.name, kind, [beta])[0])
                    for kind, beta in chosen.items()
                )
                for bits in grid.bits:
                    ratios = self._ratios(place, curves[place.name], str(bits), indices)
                    options.append(Option(bits, chosen))
                    costs.append(price.cost(place, bits, ratios))
                    errors.append(error)
            self._options.append(options)
            self._costs.append(np.array(costs))
            self._errors.append(np.array(errors))

    def _betas(self, place: Place) -> list[tuple[dict[str, float], dict[str, int]]]:
        """Return every choice of β for the kinds of a place, with the indices in the grid."""
        kinds, betas = place.distinct_kinds, self._grid.betas
        grids = np.indices((len(betas),) * len(kinds)).reshape(len(kinds), -1).T
        return [
            (
                {kind: betas[i] for kind, i in zip(kinds, choice, strict=True)},
                {kind: int(i) for kind, i in zip(kinds, choice, strict=True)},
            )
            for choice in grids
        ]

    @staticmethod
    def _ratios(
        place: Place, curves: Mapping[str, Any], bits: str, indices: Mapping[str, int]
    ) -> tuple[float, float]:
        found = {kind: float(curves[kind][bits][index]) for kind, index in indices.items()}
        if len(found) == 1:
            both = math.sqrt(next(iter(found.values())))
            return both, both
        return found[place.kinds.a], found[place.kinds.b]

    def solve(self, budget: float) -> Solution | None:
        """Return the cheapest choice within a budget of errors, None if there is none."""
        return cheapest(self._costs, self._errors, budget)

    def finest(self) -> Solution:
        """Return the choice of the least errors."""
        return least(self._costs, self._errors)

    def uniform(self, bits: int, beta: float) -> Solution:
        """Return the choice of one β and one width for all."""
        chosen = [
            next(
                index
                for index, option in enumerate(options)
                if option.bits == bits and set(option.betas.values()) == {beta}
            )
            for options in self._options
        ]
        cost = sum(float(c[i]) for c, i in zip(self._costs, chosen, strict=True))
        error = sum(float(e[i]) for e, i in zip(self._errors, chosen, strict=True))
        return Solution(chosen, cost, error)

    def plan(self, solution: Solution, about: Mapping[str, Any]) -> Plan:
        """Write a choice as a plan."""
        grid = self._grid
        common = {
            "percentile": grid.percentile,
            "granularity": grid.granularity,
            "zero_alpha": "nonzero",
            "strategy": grid.strategy.to_record(),
            "block": grid.block,
        }
        gemms: dict[str, Any] = {"*": common}
        pairs = zip(self._places, self._options, solution.chosen, strict=True)
        for place, options, index in pairs:
            option = options[index]
            betas = {kind: {"beta": _plain(beta)} for kind, beta in option.betas.items()}
            gemms[glob.escape(place.name)] = {**betas, "bits": option.bits}
        return plan_from({"schema": 1, "about": dict(about), "gemms": gemms})


def _plain(beta: float) -> float:
    return int(beta) if float(beta).is_integer() else beta


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

    def verified(self, label: str, solution: Solution, predicted: bool = True) -> TuneRecord:
        """Return the record of a choice; evaluate it, if there is none."""
        about = {"model": self._subject.name, "target": self._target.text, "found": label}
        plan = self._search.plan(solution, about)
        known = {record.plan_sha256: record for record in self._folder.records}
        if plan.hash in known:
            return known[plan.hash]
        start = time.perf_counter()
        values = self._verification.values(plan)
        harm = self._verification.harm(self._target, values)
        counted = count(self._subject, self._verification.one, plan, self._backend)
        record = TuneRecord(
            model=self._subject.name,
            text_sha256=self._subject.text.source["text_sha256"],
            label=label,
            plan=plan.to_dict(),
            plan_sha256=plan.hash,
            target=self._target.text,
            predicted=solution.error if predicted else None,
            metric=self._target.metric,
            floats=self._verification.float_value,
            tuned=values[0],
            held_out=values[1],
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

        What was measured corrects what may be predicted, until the target holds on both texts and
        most of it is used.
        """
        allowed, best = budget, None
        seen: set[str] = set()
        for attempt in range(ROUNDS):
            solution = self._search.solve(allowed)
            if solution is None:  # what is predicted may be too much: the finest plan tells
                solution = self._search.finest()
                allowed = solution.error
                record = self.verified(FINEST, solution)
            else:
                record = self.verified(f"{label}, attempt {attempt + 1}", solution)
            if record.plan_sha256 in seen:
                break
            seen.add(record.plan_sha256)
            if record.harm <= budget:
                best = record if best is None or record.cost < best.cost else best
                if record.harm >= CLOSE * budget:
                    break
                allowed *= min(4.0, 0.9 * budget / max(record.harm, budget / 8))
            else:
                allowed *= 0.85 * budget / record.harm
        return best

    def nearest(self) -> TuneRecord:
        """Verify the plan with the least errors that the grid has."""
        return self.verified(FINEST, self._search.finest())
