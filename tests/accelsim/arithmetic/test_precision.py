"""Settings of torch that shorten float32 GEMMs."""

import subprocess
import sys

import pytest
import torch

from accelsim.arithmetic.precision import float32_is_ieee
from accelsim.measure.timing import Untimed
from accelsim.routes import SimulatedRoute
from accelsim.types import PerOperand, Request, Rounding
from accelsim.unpack import DigitSystem
from gemm_backends import load_backend

SETTINGS = [
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.backends.fp32_precision = 'bf16'",
    "torch.set_float32_matmul_precision('highest'); torch.backends.fp32_precision = 'tf32'",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_shortened_float32_is_noticed_and_can_be_had_in_full(setting):
    """In a process of its own: PyTorch does not forget which settings were used."""
    code = f"""
import torch
from accelsim.arithmetic.precision import float32_is_ieee, float32_precision
device = torch.device("cpu")
matmul = torch.backends.mkldnn.matmul
if hasattr(matmul, "fp32_precision"):
    assert float32_is_ieee(device)
    {setting}
    assert not float32_is_ieee(device)
    before = matmul.fp32_precision
    a = 1 + torch.rand(64, 64) * 2**-10
    with float32_precision(device):
        assert ((a @ a).double() - a.double() @ a.double()).abs().max() < 1e-3
    assert matmul.fp32_precision == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_autocast_shortens_float32_products_and_no_exact_one():

    a, b = torch.randn(40, 70), torch.randn(30, 70)
    request = Request(
        (1, 40, 70, 30),
        a.device,
        a.dtype,
        PerOperand.both(Rounding(95, 1023)),
        PerOperand.both(DigitSystem("balanced", 8)),
    )
    digits = [torch.randint(-128, 128, x.shape, dtype=torch.int8) for x in (a, b)]
    backend = load_backend("emulator", bits=8)
    right = SimulatedRoute(request).run(a, b, Untimed()), backend.multiply(*digits)
    with torch.autocast("cpu", torch.bfloat16):
        assert not float32_is_ieee(a.device)
        assert (a @ b.T).dtype == torch.bfloat16
        assert torch.equal(SimulatedRoute(request).run(a, b, Untimed()), right[0])
        assert torch.equal(backend.multiply(*digits), right[1])
