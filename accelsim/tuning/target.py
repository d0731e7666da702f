"""The quality that a plan has to keep."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from accelsim.errors import InputError

_TARGET = re.compile(r"^(perplexity) \+(\d+\.?\d*)%$|^(cosine) (0?\.\d+)$")


@dataclass(frozen=True)
class Target:
    """What a plan may do to the quality.

    Parameters
    ----------
    text : str
        As it was written.
    metric : str
        ``perplexity`` or ``cosine to float``.
    budget : float
        The harm that is allowed: the logarithm of the perplexity's growth, in nats a token, or one
        minus the cosine.
    """

    text: str
    metric: str
    budget: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target such as ``perplexity +0.5%`` or ``cosine 0.995``.

        Raises
        ------
        InputError
            If it is something else.
        """
        found = _TARGET.match(text.strip())
        budget = 0.0
        if found is not None:
            budget = math.log1p(float(found[2]) / 100) if found[1] else 1 - float(found[4])
        if found is None or budget <= 0:
            raise InputError(
                f"target: found {text!r}; expected 'perplexity +0.5%' or 'cosine 0.995'"
            )
        return cls(text, "perplexity" if found[1] else "cosine to float", budget)

    def check(self, generates: bool) -> None:
        """See that a model has this metric.

        Raises
        ------
        InputError
            If it has another.
        """
        if generates != (self.metric == "perplexity"):
            own = "a language model; its target is 'perplexity +0.5%'"
            other = "an encoder; its target is 'cosine 0.995'"
            raise InputError(f"target {self.text!r}: this is {own if generates else other}")

    def harm(self, value: float, floats: float) -> float:
        """Return what a value of the metric is beside that of floats."""
        if not math.isfinite(value):
            return math.inf
        return math.log(value / floats) if self.metric == "perplexity" else 1 - value

    def shown(self, harm: float) -> str:
        """Write a harm as a target is written."""
        if self.metric == "perplexity":
            return f"perplexity {math.expm1(harm):+.2%}"
        return f"cosine {1 - harm:.4f}"
