"""The suite's own routes are ones that the kit's checks pass, whatever strategy they unpack by."""

import pytest

from accelsim.routes.opening import open_route
from accelsim.routes.simulated import SimulatedRoute
from gemm_backends import GemmBackend, load_backend
from gemm_backends.conformance import routes
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import run_check

INT8 = load_backend("cpu-int8")
SIMULATED = "simulate"


class Offering(GemmBackend):
    """Offers a route of the suite as if it were its own."""

    name = "offering"
    bits = INT8.bits
    accumulator = INT8.accumulator

    def __init__(self, strategy: str):
        self.strategy = strategy

    def matmul(self, a, b):
        return INT8.matmul(a, b)

    def fused(self, request):
        if self.strategy == SIMULATED:
            return SimulatedRoute(request)
        return open_route(request, self.strategy, INT8)


SLOW = [pytest.param(strategy, marks=pytest.mark.slow) for strategy in ("mix", "block", "optimal")]


@pytest.mark.parametrize("strategy", ["row", SIMULATED, *SLOW])
@pytest.mark.parametrize("check", routes.CHECKS, ids=lambda check: check.name)
def test_a_route_conforms(check, strategy):
    outcome = run_check(check, Subject(Offering(strategy)))
    if check.name == "route_graphs":
        assert outcome.status == "skipped"
    elif check.name == "route_counts" and strategy == SIMULATED:
        assert "low_bit_macs is 0" in outcome.detail, "it has no products of digits"
    else:
        assert outcome.status == "passed", outcome.detail
