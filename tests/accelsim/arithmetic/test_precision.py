"""Settings of torch that shorten float32 GEMMs."""

import ctypes
import ctypes.util
import platform
from contextlib import contextmanager

import pytest
import torch
from forked import run_forked

from accelsim.arithmetic.precision import float32_is_ieee
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
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
    done = run_forked("-c", code)
    assert done.returncode == 0, done.stderr


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


@contextmanager
def rounding_mode(mode):
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = libm.fegetround()
    assert libm.fesetround(mode) == 0
    try:
        yield
    finally:
        libm.fesetround(before)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the modes have other numbers elsewhere")
@pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00], ids=["down", "up", "towards zero"])
def test_another_rounding_mode_is_refused(mode):
    x = torch.tensor([[1.0, 2.0]])
    with rounding_mode(mode), pytest.raises(InputError, match="does not round to the nearest"):
        quantize(x, 95, 31)
    assert quantize(x, 95, 31).values.tolist() == [[8, 16]]


def test_error_function_whatever_the_caller_s_decimal_arithmetic_is():
    """It is worked out once, so that each process is one of its own."""
    code = """
import decimal, hashlib, sys
TRAPS = [decimal.Inexact] if sys.argv[1:] == ['errors'] else []
if sys.argv[1:]:
    decimal.setcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, traps=TRAPS))
import torch
from accelsim.integer_mode.pinned.error_function import erf
x = torch.linspace(-6, 6, 10_001)
print(hashlib.sha256(erf(x).numpy().tobytes()).hexdigest())
"""
    done = [run_forked("-c", code, *other) for other in ([], ["few digits"], ["errors"])]
    assert [each.returncode for each in done] == [0, 0, 0], done
    assert len({each.stdout for each in done}) == 1
