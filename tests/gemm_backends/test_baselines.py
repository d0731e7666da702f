"""The floating-point products that integer ones are compared with."""

import subprocess
import sys

import pytest
import torch

from accelsim.errors import InputError
from accelsim.plugins import extras
from gemm_backends.baselines import Baseline, list_baselines, load_baseline


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("fp64", torch.float64, 1e-14),
        ("fp32", torch.float32, 1e-5),
        ("bf16", torch.bfloat16, 2e-2),
        ("fp16", torch.float16, 2e-3),
    ],
)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_product(name, dtype, tolerance, batch):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(*batch, 7, 20, generator=generator, dtype=torch.float64)
    b = torch.randn(*batch, 5, 20, generator=generator, dtype=torch.float64)
    baseline = load_baseline(name)
    assert baseline.availability("cpu").available
    product = baseline.matmul(a, b)
    assert product.dtype == dtype
    error = (product.double() - a @ b.mT).norm() / (a @ b.mT).norm()
    assert error < tolerance
    assert torch.equal(baseline.matmul(baseline.prepare(a), baseline.prepare(b)), product)


def test_fp32_is_fp32_whatever_the_process_is_set_to(monkeypatch):
    a = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    seen = []
    monkeypatch.setattr(
        torch.Tensor,
        "__matmul__",
        lambda x, y: seen.append(torch.get_float32_matmul_precision()) or torch.mm(x, y),
    )
    torch.set_float32_matmul_precision("medium")
    try:
        load_baseline("fp32").matmul(a, a)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


def test_tf32_wants_a_gpu():
    availability = load_baseline("tf32").availability("cpu")
    assert not availability.available
    assert "NVIDIA GPU" in availability.reason


def test_unknown_baseline():
    assert {"fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp8-row"} < {*list_baselines()}
    with pytest.raises(InputError, match=r"unknown baseline 'bf61'; did you mean 'bf16'\?"):
        load_baseline("bf61")


def test_listing_imports_none():
    code = (
        "import sys; from gemm_backends.baselines import list_baselines; assert list_baselines();"
        "loaded = [m for m in sys.modules if m.startswith('gemm_backends.baselines.f')];"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchao_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    availability = load_baseline("torchao-int8").availability("cuda")
    assert not availability.available
    assert "torchao is missing: pip install" in availability.reason
    assert "[torchao]" in availability.reason


class Halved(Baseline):
    """A baseline as a package may bring it."""

    name = "halved"

    def prepare(self, operand):
        return operand / 2

    def matmul(self, a, b):
        return a @ b.mT


def test_bind_prepares_both_operands_once(monkeypatch):
    prepared = []
    monkeypatch.setattr(Halved, "prepare", lambda self, x: prepared.append(x.shape) or x / 2)
    a, b = torch.ones(3, 4), torch.ones(5, 4)
    product = Halved().bind(a, b)
    assert torch.equal(product(), torch.ones(3, 5))
    assert torch.equal(product(), torch.ones(3, 5))
    assert prepared == [a.shape, b.shape]
