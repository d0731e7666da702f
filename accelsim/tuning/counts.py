"""The counts of a model's low-bit products under a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from accelsim.config.plans import Plan
from accelsim.integer_mode import KINDS, IntegerGemms, PerKind
from accelsim.integer_mode.planned import Planned
from accelsim.integer_mode.routes import Opener
from accelsim.routes import GeneralRoute, SimulatedRoute
from accelsim.types import Counts, PerOperand, PreparedOperand, Request, Timer, Wide
from accelsim.unpack import load_strategy
from gemm_backends import GemmBackend


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
    model: nn.Module,
    run: Callable[[], object],
    plan: Plan,
    backend: Callable[[int], GemmBackend],
) -> Counted:
    """Count the low-bit products of a model under a plan, without multiplying any.

    Parameters
    ----------
    model : nn.Module
        Any model.
    run : callable
        Runs it.
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
    with IntegerGemms(model, Planned(plan, rounding, unpacking, openers)):
        run()
    return counted
