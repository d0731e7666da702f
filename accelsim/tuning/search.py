"""The options of every place, with what they cost and the errors that are predicted."""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from accelsim.config.plans import Plan, plan_from
from accelsim.errors import InputError
from accelsim.records.tuning import SensitivityRecord
from accelsim.tuning.curves import Curve, Curves, Grid, Setting, of_gemm
from accelsim.tuning.places import Place
from accelsim.tuning.prices import Price
from accelsim.tuning.solve import Floats, Solution, cheapest, least

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


def label_of(bits: int, setting: Setting) -> str:
    """Return what a plan of one setting for all is called."""
    percentile, beta = setting
    return f"β = {beta:g} at percentile {percentile:g}, {bits} bits"


def _plain(beta: float) -> float:
    return int(beta) if float(beta).is_integer() else beta
