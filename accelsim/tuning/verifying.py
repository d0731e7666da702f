"""Evaluate a plan as a whole: the quality of the model, and the counts of its low-bit products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accelsim.config.plans import Plan
from accelsim.integer_mode import KINDS, IntegerGemms, PerKind, integer_gemms
from accelsim.integer_mode.planned import Planned
from accelsim.integer_mode.routes import Opener
from accelsim.parity.quality import embeddings, likeness, perplexity, windows
from accelsim.routes import GeneralRoute, SimulatedRoute
from accelsim.tuning.subject import Subject
from accelsim.tuning.target import Target
from accelsim.types import Counts, PerOperand, PreparedOperand, Request, Timer, Wide
from accelsim.unpack import load_strategy
from gemm_backends import GemmBackend


class Verification:
    """The quality of plans on the text that a search uses and on the text between.

    Parameters
    ----------
    subject : Subject
        The model, and its text.
    count, tokens : int
        How many windows of each text, of how many tokens.
    """

    def __init__(self, subject: Subject, count: int, tokens: int) -> None:
        self._subject = subject
        both = windows(subject.ids, 2 * count, tokens)
        self._texts = both[0::2], both[1::2]
        self.floats = [self._reference(text) for text in self._texts]

    @property
    def one(self) -> Tensor:
        """One window of the text of the search."""
        return self._texts[0][:1]

    def read_one(self) -> None:
        """Have the model read one window."""
        if self._subject.loaded.generates:
            perplexity(self._subject.model, self.one)
        else:
            embeddings(self._subject.model, self.one)

    def _reference(self, text: Tensor) -> Any:
        if self._subject.loaded.generates:
            return perplexity(self._subject.model, text).value
        return embeddings(self._subject.model, text)

    def values(self, plan: Plan) -> tuple[float, float]:
        """Return the metric under a plan, on the text of the search and on the text between.

        Parameters
        ----------
        plan : Plan
            It has settings for every GEMM.
        """
        model = self._subject.model
        with integer_gemms(model, plan=plan):
            if self._subject.loaded.generates:
                tuned, held = (perplexity(model, text).value for text in self._texts)
            else:
                tuned, held = (
                    likeness(embeddings(model, text), reference).value
                    for text, reference in zip(self._texts, self.floats, strict=True)
                )
        return tuned, held

    def harm(self, target: Target, values: tuple[float, float]) -> float:
        """Return the worse of two values beside floats; see `Target.harm`."""
        if self._subject.loaded.generates:
            pairs = zip(values, self.floats, strict=True)
            return max(target.harm(value, reference) for value, reference in pairs)
        return max(target.harm(value, 1.0) for value in values)

    @property
    def float_value(self) -> float:
        """The metric of floats on the text of the search."""
        return float(self.floats[0]) if self._subject.loaded.generates else 1.0


@dataclass
class Counted:
    """Sums over the GEMMs of a model that was counted.

    Parameters
    ----------
    dense_macs, low_bit_macs : int
        Multiplications as they are, and in low-bit products.
    cycles, energy : float or None
        What the backend models; energy in joules.
    """

    dense_macs: int = 0
    low_bit_macs: int = 0
    cycles: float | None = None
    energy: float | None = None

    def add(self, counts: Counts) -> None:
        """Add the counts of one GEMM."""
        self.dense_macs += counts.dense_macs
        self.low_bit_macs += counts.low_bit_macs
        for name in ("cycles", "energy"):
            found = counts.modelled.get(name)
            if found is not None:
                setattr(self, name, (getattr(self, name) or 0.0) + found)


class CountedRoute(SimulatedRoute):
    """Gives the integers of a simulated route, and counts what a strategy makes of the operands.

    Parameters
    ----------
    request : Request
        What is asked for.
    general : GeneralRoute
        Of the same request; nothing runs on it.
    counted : Counted
        Gets what is counted.
    """

    def __init__(self, request: Request, general: GeneralRoute, counted: Counted) -> None:
        super().__init__(request)
        self._general, self._counted = general, counted

    def run(
        self, a: Tensor | PreparedOperand, b: Tensor | PreparedOperand, timer: Timer
    ) -> Tensor | Wide:
        """Compute the product, and count it."""
        product = super().run(a, b, timer)
        rounded = self._done.operands.map(lambda operand: operand.quantized)
        self._counted.add(self._general.count(self._general.unpacked(rounded)))
        return product


def count(
    subject: Subject, window: Tensor, plan: Plan, backend: Callable[[int], GemmBackend]
) -> Counted:
    """Count the low-bit products of a model under a plan, without multiplying any.

    Parameters
    ----------
    subject : Subject
        The model.
    window : Tensor
        int64 ``[1, tokens]``, what it reads.
    plan : Plan
        It has settings for every GEMM.
    backend : callable
        Returns the backend, whose model may give cycles and energy, for some width of digits.
    """
    counted = Counted()

    def openers(how: Mapping[str, Any]) -> Opener:
        strategy = load_strategy(how["strategy"], how["block"])
        chosen = backend(how["bits"].a)

        def opener(request: Request) -> SimulatedRoute:
            return CountedRoute(request, GeneralRoute(request, strategy, chosen), counted)

        return opener

    rounding = PerKind[Mapping[str, Any]](*({} for _ in KINDS))
    unpacking = {
        "bits": PerOperand.both(8), "digits": "balanced", "strategy": "block", "block": None,
    }  # fmt: skip
    mode = IntegerGemms(subject.model, Planned(plan, rounding, unpacking, openers))
    with mode, torch.no_grad():
        if subject.loaded.generates:
            perplexity(subject.model, window)
        else:
            embeddings(subject.model, window)
    return counted
