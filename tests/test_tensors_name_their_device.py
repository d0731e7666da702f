"""Every tensor that the suite makes says on which device: the default one is the user's to set."""

import ast
from pathlib import Path

import torch

from accelsim.arithmetic.digits import DigitSystem
from accelsim.measure.timing import Untimed
from accelsim.routes import expected, judge, open_route, wrong_floats
from accelsim.types import PerOperand, Request, Rounding
from gemm_backends import load_backend

ROOT = Path(__file__).parents[1]
MAKERS = {
    *("arange", "as_tensor", "empty", "empty_strided", "eye", "full", "linspace", "ones", "rand"),
    *("randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros"),
}
MODELS = {"workloads/models/small.py"}
"""Models, whose parameters go where the user makes them."""


def unnamed(source):
    """Return the lines of calls like ``torch.empty(3)``."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "torch"
        and call.func.attr in MAKERS
        and not any(keyword.arg == "device" for keyword in call.keywords)
    ]


def test_no_tensor_goes_to_the_default_device():
    assert unnamed("import torch\ntorch.empty(3)\ntorch.empty(3, device='cpu')") == [2]
    found = {
        str(file.relative_to(ROOT)): unnamed(file.read_text())
        for package in ("accelsim", "gemm_backends", "workloads")
        for file in (ROOT / package).rglob("*.py")
    }
    assert {file: lines for file, lines in found.items() if lines and file not in MODELS} == {}


def test_a_route_and_its_verdict_do_not_care_for_the_default_device():
    a, b = (torch.randn(rows, 40) for rows in (6, 5))
    request = Request(
        shape=(1, 6, 40, 5),
        device=a.device,
        dtype=a.dtype,
        rounding=PerOperand.both(Rounding(95.0, 127.0)),
        digits=PerOperand.both(DigitSystem("balanced", 8)),
        output=a.dtype,
    )
    for name in ("cpu-int8", "emulator"):
        with torch.device("meta"):
            route = open_route(request, "mix", load_backend(name))
            product = route.run(a, b, Untimed())
            right = expected(request, a, b)
            assert judge(route.integers(), right).exact
            assert wrong_floats(product, right) == 0
