"""Settings of torch that shorten float32 GEMMs."""

import subprocess
import sys

import pytest

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
