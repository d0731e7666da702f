"""Every operand is rounded by the settings of its kind, in every phase, type and shape."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.integer_mode import IntegerGemms
from accelsim.integer_mode.kinds import by_kind
from accelsim.types import PerOperand

BETAS = {"weights": 127, "activations": 31, "attention": 15, "gradients": 61}
PERCENTILES = {"weights": 100, "activations": 90, "attention": 95, "gradients": 80}
KINDS = {
    ("linear", "forward"): ("activations", "weights"),
    ("linear", "grad_input"): ("gradients", "weights"),
    ("linear", "grad_weight"): ("gradients", "activations"),
    ("qk", "forward"): ("attention", "attention"),
    ("qk", "grad_input"): ("gradients", "attention"),
    ("qk", "grad_weight"): ("gradients", "attention"),
    ("pv", "forward"): ("attention", "attention"),
    ("pv", "grad_input"): ("gradients", "attention"),
    ("pv", "grad_weight"): ("gradients", "attention"),
}


class Square(nn.Module):
    """Products of one shape, ``[8, 8]``, by operands of every kind."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

    def forward(self, x):
        y = self.first(x)
        return self.second(torch.softmax(y @ x.mT, -1) @ y)


class Judging(IntegerGemms):
    """Integer mode that works every product out again, from the definition."""

    def _counted(self, call, request, route, result):
        found = super()._counted(call, request, route, result)
        kinds = KINDS[call.site.op, call.phase]
        a, b = (
            quantize(x, PERCENTILES[kind], BETAS[kind], self.granularity, "nonzero")
            for x, kind in zip((call.a, call.b), kinds, strict=True)
        )
        right = dequantize(oracle(a.values, b.values), PerOperand(a.scale, b.scale), call.a.dtype)
        assert torch.equal(found, right), (call.name, call.phase)
        self.seen.append((call.site.op, call.phase))
        return found


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("backend", [None, "int64"])
def test_each_kind_has_its_own_settings(granularity, backend):
    torch.manual_seed(0)
    model = Square()
    mode = accelsim.integer_gemms(
        model, BETAS, PERCENTILES, granularity=granularity, backend=backend
    )
    mode.__class__, mode.seen, mode.granularity = Judging, [], granularity
    with mode:
        for _ in range(2):
            x = (torch.randn(8, 8) ** 3).requires_grad_()
            model(x).square().sum().backward()
    assert set(mode.seen) == set(KINDS)


@pytest.mark.parametrize("shapes", [[(3, 8), (5, 8), (3, 8)], [(8, 8), (1, 8), (2, 4, 8)]])
def test_shapes_and_types_do_not_share_what_differs(shapes):
    model, half = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False).bfloat16()
    both = nn.ModuleList([model, half])
    mode = accelsim.integer_gemms(both, BETAS, PERCENTILES)
    mode.__class__, mode.seen, mode.granularity = Judging, [], "tensor"
    with mode, torch.no_grad():
        for shape in shapes:
            x = torch.randn(shape) ** 3
            model(x)
            half(x.bfloat16())
    assert len(mode.seen) == 2 * len(shapes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "beta of default: found 0; expected a number above 0"),
        ({"weights": -1, "default": 3}, "beta of weights: found -1; expected a number above 0"),
        ({"weights": 101, "default": 3}, "beta of weights: found 101; .* and at most 100"),
        ({"weight": 1, "default": 3}, "beta: .*did you mean 'weights'"),
        ({"weights": 1}, "beta: "),
    ],
)
def test_settings_that_no_kind_can_have(given, message):
    with pytest.raises(InputError, match=message):
        by_kind(given, "beta", at_most=100)


def test_the_largest_setting_is_allowed():
    assert by_kind({"weights": 100, "default": 3}, "percentile", at_most=100).weights == 100
    assert by_kind(1e9, "beta").gradients == 1e9
