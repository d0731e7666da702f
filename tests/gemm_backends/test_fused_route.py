"""What a caller gets who asks a backend for its own route."""

import pytest
import torch
from faulty import Correct

from accelsim.arithmetic.digits import DigitSystem
from gemm_backends import BackendError, PerOperand, Request, Rounding, Support
from gemm_backends.routes import METHODS, fused_route

REQUEST = Request(
    shape=(1, 2, 3, 4),
    device=torch.device("cpu"),
    dtype=torch.float32,
    rounding=PerOperand.both(Rounding()),
    digits=PerOperand.both(DigitSystem("balanced", 8)),
)


def offering(answer):
    class Offering(Correct):
        def fused(self, request):
            return answer

    return Offering()


def test_by_default_there_is_none():
    assert fused_route(Correct(), REQUEST) == Support(False, "backend 'double' has no fused route")


def test_a_refusal_and_a_route_are_given_as_they_are():
    refusal = Support(False, "no float32")
    assert fused_route(offering(refusal), REQUEST) is refusal
    route = type("Route", (), dict.fromkeys(METHODS, lambda self: None))()
    assert fused_route(offering(route), REQUEST) is route


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Support(True), r"returned Support\(ok=True.*it gives a route, or Support\(False, reason"),
        (None, "returned NoneType, which is not a route: it lacks prepare, run, check"),
        (torch.zeros(2), "returned Tensor, which is not a route: it lacks prepare, run"),
    ],
)
def test_anything_else_is_an_error(answer, message):
    with pytest.raises(BackendError, match=message):
        fused_route(offering(answer), REQUEST)


def test_a_method_with_wrong_arguments_is_found_when_the_class_is_defined():
    with pytest.raises(TypeError, match=r"Wrong\.fused must take \(self, request\)"):
        type("Wrong", (Correct,), {"fused": lambda self: None})


@pytest.mark.parametrize("own", [True, lambda self, a, b, c: None], ids=["value", "method"])
def test_to_a_class_written_for_1_0_the_name_fused_is_its_own(own):
    older = type("Older", (Correct,), {"api_version": "1.0", "fused": own})()
    answer = fused_route(older, REQUEST)
    assert not answer
    assert "written for version 1.0 of the plug-in API, which has no fused routes" in answer.reason
