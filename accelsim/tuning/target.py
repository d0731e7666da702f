"""The quality that a plan has to keep."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from accelsim.errors import InputError
from accelsim.records.tuning import ACCURACY, COSINE, LOSS, PERPLEXITY

EXAMPLES = {
    PERPLEXITY: "perplexity +0.5%",
    COSINE: "cosine 0.995",
    ACCURACY: "accuracy -1%",
    LOSS: "loss +1% after 100 steps",
}
"""A target of each metric."""

_NUMBER = r"(\d+\.?\d*)"
_WRITTEN = {
    PERPLEXITY: re.compile(rf"perplexity \+{_NUMBER}%"),
    COSINE: re.compile(r"cosine (0?\.\d+)"),
    ACCURACY: re.compile(rf"accuracy -{_NUMBER}%"),
    LOSS: re.compile(rf"loss \+{_NUMBER}% after (\d+) steps?"),
}


@dataclass(frozen=True)
class Target:
    """What a plan may do to the quality.

    Parameters
    ----------
    text : str
        As it was written.
    metric : str
        One of `EXAMPLES`.
    budget : float
        The harm that is allowed: the logarithm of the perplexity's growth, in nats a token; one
        minus the cosine; the share of inputs that accuracy may lose; or the growth of the loss.
    steps : int
        Of training, for a loss.
    """

    text: str
    metric: str
    budget: float
    steps: int = 0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target such as ``perplexity +0.5%`` or ``cosine 0.995``.

        Raises
        ------
        InputError
            If it is something else.
        """
        for metric, written in _WRITTEN.items():
            if found := written.fullmatch(text.strip()):
                value, steps = float(found[1]), int(found[2]) if metric == LOSS else 0
                budget = {PERPLEXITY: math.log1p(value / 100), COSINE: 1 - value}.get(
                    metric, value / 100
                )
                if budget > 0 and (steps > 0 or metric != LOSS):
                    return cls(text, metric, budget, steps)
        examples = [repr(example) for example in EXAMPLES.values()]
        raise InputError(
            f"target: found {text!r}; expected {', '.join(examples[:-1])} or {examples[-1]}"
        )

    def check(self, model: str, metrics: tuple[str, ...]) -> None:
        """See that a model has this metric.

        Parameters
        ----------
        model : str
            Its name.
        metrics : tuple of str
            Those that it has.

        Raises
        ------
        InputError
            If it has others.
        """
        if self.metric not in metrics:
            own = " or ".join(repr(EXAMPLES[metric]) for metric in metrics)
            raise InputError(f"target {self.text!r}: that of {model} is one such as {own}")

    def harm(self, value: float, floats: float) -> float:
        """Return what a value of the metric is beside that of floats."""
        if not math.isfinite(value):
            return math.inf
        if self.metric == PERPLEXITY:
            return math.log(value / floats)
        return value / floats - 1 if self.metric == LOSS else floats - value

    def shown(self, harm: float) -> str:
        """Write a harm as a target is written."""
        if self.metric == PERPLEXITY:
            return f"perplexity {math.expm1(harm):+.2%}"
        if self.metric == COSINE:
            return f"cosine {1 - harm:.4f}"
        if self.metric == ACCURACY:
            return f"accuracy {-harm:+.2%}"
        return f"loss {harm:+.2%}"
